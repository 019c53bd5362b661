"""What a component's signature accepts, and how a plain YAML value becomes what it asks for."""

import enum
import inspect
import pathlib
import sys
import typing
from collections import abc
from collections.abc import Callable
from contextlib import suppress
from types import NoneType, SimpleNamespace
from typing import Annotated, Any, NamedTuple

from pydantic import Field, TypeAdapter

from config.reference import LISTS, MAPPINGS, UNIONS, choices_in, fields_of, is_of_torch, is_open, unwrapped, words_of

# What own components write where a plain int or float takes too much: the config is checked against it.
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]

# A **kwargs that no signature explains swallows what is misspelt, so it counts as closed in these, open elsewhere.
LIBRARIES = {"torch", "torchvision", "torchmetrics", "kornia", "timm"}
# What their constructors take out of their **kwargs unseen, by class.
_STAT_SCORES = ("BinaryStatScores", "MulticlassStatScores", "MultilabelStatScores")
_TAKEN_FROM_KWARGS = {
    "Metric": ("compute_on_cpu", "dist_sync_on_step", "process_group", "dist_sync_fn", "distributed_available_fn",
               "sync_on_compute", "compute_with_cache"),
    **dict.fromkeys(_STAT_SCORES, ("zero_division",)),
    "MobileNetV3": ("width_mult", "reduced_tail", "dilated"),
}  # fmt: skip
# The plain types that an annotation takes as they are.
_NUMBERS = (int, float)
_TAKES = {None: (NoneType,), NoneType: (NoneType,), bool: (bool,), int: (int,), float: _NUMBERS, complex: _NUMBERS,
          str: (str,), bytes: (str,)}  # fmt: skip
# What is no class of objects to `_fit`; functions and classes no config can give at all.
_NO_OBJECTS = (*_TAKES, tuple, *LISTS, *MAPPINGS, abc.Callable, type)
# What libraries say of some numbers in their documentation, and do not check.
_DOCUMENTED = {"label_smoothing": Share, "step_size": Count, "T_max": Count, "num_classes": Count}
# What libraries import for type checkers alone, so that their own modules lack it.
_NAMES_FOR_TYPE_CHECKERS = {**vars(typing), **vars(abc)}


class Parameter(NamedTuple):
    annotation: Any  # typing.Any where the signature doesn't say
    default: Any  # inspect.Parameter.empty where there is none
    required: bool


class Parameters(NamedTuple):
    """The arguments that a component takes by name; `is_open` where it takes any name."""

    by_name: dict[str, Parameter]
    is_open: bool

    def annotation(self, name: str) -> Any:
        """The annotation of an argument; Any for one that is not known."""
        return self.by_name[name].annotation if name in self.by_name else Any


def parameters_of(component: Callable) -> Parameters:
    """The arguments of a class or function, those that it passes on with `**kwargs` included.

    `**kwargs` leads to the next `__init__` in the MRO, and from a builder function to the class that it returns.
    """
    chain, returned = [], component
    if not inspect.isclass(component):
        chain = [inspect.unwrap(component)]
        returned = _hints(chain[0]).get("return")
    if inspect.isclass(returned):
        chain += _constructors(returned)
    by_name: dict[str, Parameter] = {}
    has_kwargs = False
    for function in chain:
        own, has_kwargs = _own_parameters(function)
        for name, parameter in own.items():
            # What is passed on may be filled in on the way: only the first function's own are ever required.
            by_name.setdefault(name, parameter if function is chain[0] else parameter._replace(required=False))
        if not has_kwargs:
            break
    return Parameters(by_name, has_kwargs and not _is_of_library(function))


def _is_of_library(function: Callable) -> bool:
    return function.__module__.split(".")[0] in LIBRARIES


def _constructors(cls: type) -> list[Callable]:
    """The `__new__` or `__init__` of a class and of those that it inherits from, in the order of the MRO."""
    constructors = []
    for base in cls.__mro__:
        # torch.nn.Module takes no arguments of its own; its signature says *args, **kwargs.
        if base is object or (base.__name__ == "Module" and base.__module__.startswith("torch.nn.")):
            break
        for method in ("__new__", "__init__"):
            function = base.__dict__.get(method)
            function = inspect.unwrap(getattr(function, "__func__", function))  # __new__ is a staticmethod
            if inspect.isfunction(function):
                constructors.append(function)
                break
    return constructors


def _own_parameters(function: Callable) -> tuple[dict[str, Parameter], bool]:
    """The parameters of one function without `self`, and whether it has `**kwargs`."""
    hints = _hints(function)
    own, has_kwargs = {}, False
    for index, (name, parameter) in enumerate(inspect.signature(function).parameters.items()):
        if parameter.kind is parameter.VAR_KEYWORD:
            has_kwargs = True
        elif parameter.kind is not parameter.VAR_POSITIONAL and not (index == 0 and name in ("self", "cls", "_cls")):
            annotation = hints.get(name, parameter.annotation)
            if annotation is parameter.empty:
                annotation = _annotation_like(parameter.default)
            if annotation in (int, float) and _is_of_library(function):
                annotation = _DOCUMENTED.get(name, annotation)
            own[name] = Parameter(annotation, parameter.default, parameter.default is parameter.empty)
    taken = _TAKEN_FROM_KWARGS.get(function.__qualname__.split(".")[0], ())
    return own | dict.fromkeys(taken, Parameter(Any, None, required=False)), has_kwargs


def _hints(component: Callable) -> dict[str, Any]:
    """The annotations of a function or class, each resolved for itself; one that cannot be stays text."""
    module = sys.modules.get(component.__module__)
    names = {**_NAMES_FOR_TYPE_CHECKERS, **(vars(module) if module else {}), **getattr(component, "__globals__", {})}
    hints = dict(getattr(component, "__annotations__", {}))
    for name, annotation in hints.items():
        lone = SimpleNamespace(__annotations__={name: annotation})
        with suppress(NameError, TypeError, AttributeError, SyntaxError):
            hints |= typing.get_type_hints(lone, names, include_extras=True)
    return hints


def _annotation_like(default: Any) -> Any:
    """A gentle guess from a default value where there is no annotation."""
    if isinstance(default, bool):
        return bool | None
    if isinstance(default, (int, float)):
        return float | None
    return str | None if isinstance(default, str) else Any


def takes(function: Callable, name: str) -> bool:
    """Whether a method of an own component has a parameter that those of an earlier version lack."""
    return name in inspect.signature(function).parameters


def what_it_asks(function: Callable) -> tuple[str, ...]:
    """Which of a batch's `indices` and of `training` an own loss or metric has a parameter for."""
    return tuple(name for name in ("indices", "training") if takes(function, name))


def mismatch(value: Any, annotation: Any) -> str | None:
    """Why a plain value does not fit an annotation (`expected a number`), or None; unknown ones accept."""
    try:
        _fit(value, annotation)
    except ValueError:
        return f"expected {words_of(annotation)}"
    return None


def convert(value: Any, annotation: Any) -> Any:
    """A plain value as its annotation asks for it.

    Lists become tensors (float) or tuples, text becomes an enum's member, a path, a torch.dtype or torch.device.
    A value that fits as it is, or does not fit at all, stays as it is.
    """
    try:
        return _fit(value, annotation)
    except ValueError:
        return value


def _fit(value: Any, annotation: Any) -> Any:
    """A plain value as its annotation asks for it; ValueError where it does not fit."""
    annotation, bounds = unwrapped(annotation)
    fitted = _fit_type(value, annotation)
    return TypeAdapter(Annotated[Any, *bounds]).validate_python(fitted) if bounds else fitted


def _fit_type(value: Any, annotation: Any) -> Any:
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    is_list = isinstance(value, (list, tuple))
    if origin in UNIONS:
        for member in sorted(choices_in(inner), key=_order_of_trial):
            with suppress(ValueError):
                return _fit(value, member)
    elif origin is typing.Literal:
        if any(value == allowed and type(value) is type(allowed) for allowed in inner):
            return value
    elif is_open(annotation) or type(value) in _TAKES.get(origin, ()):
        return value
    elif origin is tuple and is_list:
        # tuple[X] is written by many for "any number of X", so one type stands for every length.
        is_fixed = len(inner) > 1 and inner[1] is not Ellipsis
        members = inner if is_fixed else (inner[0] if inner else Any,) * len(value)
        if len(members) == len(value):
            return tuple(map(_fit, value, members))
    elif origin in LISTS and is_list:
        items = [_fit(item, inner[0]) for item in value] if inner else value
        return _as_set(items, origin) if issubclass(origin, abc.Set) else items
    elif origin in MAPPINGS and isinstance(value, dict):
        return {key: _fit(item, inner[1]) for key, item in value.items()} if inner else value
    elif origin not in _NO_OBJECTS:
        return _as_object(value, origin) if inspect.isclass(origin) else value
    raise ValueError("does not fit")


def _order_of_trial(member: Any) -> int:
    """In a union: what leaves a value as it is comes first, a tensor, which takes any number, last."""
    origin = typing.get_origin(member) or member
    is_plain = origin in _TAKES or origin in LISTS or origin in MAPPINGS or not inspect.isclass(origin)
    return 0 if is_plain else 2 if is_of_torch(origin, "Tensor") else 1


def _as_set(items: list, kind: type) -> abc.Set:
    try:
        return frozenset(items) if kind is frozenset else set(items)
    except TypeError as error:
        raise ValueError("lists and mappings cannot be in a set") from error


def _as_object(value: Any, cls: type) -> Any:
    """A plain value as an object of a class; ValueError where none can become one."""
    if fields_of(cls):
        return _as_record(value, cls)
    with suppress(TypeError):  # a protocol that is for type checkers only
        if isinstance(value, cls) and not isinstance(value, bool):  # which Python counts among the numbers
            return value
    if issubclass(cls, enum.Enum):
        return _member(value, cls)
    if is_of_torch(cls, "Tensor", "dtype", "device"):
        return _as_torch(value, cls.__name__)
    if issubclass(cls, (str, int, float, tuple, list, dict)):
        return value  # torch.Size and the like make do with what they are derived from
    if cls is pathlib.Path and isinstance(value, str):
        return pathlib.Path(value)
    raise ValueError("a config cannot hold it")


def _as_record(value: Any, cls: type) -> Any:
    """A mapping as a dataclass, NamedTuple or TypedDict, its values as the fields ask; a list as a NamedTuple."""
    names = fields_of(cls)
    if isinstance(value, (list, tuple)) and issubclass(cls, tuple) and len(value) <= len(names):
        value = dict(zip(names, value, strict=False))
    parameters, hints = parameters_of(cls), _hints(cls)
    required = getattr(cls, "__required_keys__", {n for n, field in parameters.by_name.items() if field.required})
    if not isinstance(value, dict) or not required <= value.keys() <= set(names):
        raise ValueError("not its fields")
    return cls(**{name: _fit(item, hints.get(name, parameters.annotation(name))) for name, item in value.items()})


def _member(value: Any, cls: type[enum.Enum]) -> enum.Enum:
    """The member with this name, whatever the case, or this value."""
    for name, member in cls.__members__.items():
        is_name = isinstance(value, str) and value.lower() == name.lower()
        if is_name or (value == member.value and type(value) is type(member.value)):
            return member
    raise ValueError("no member")


def _as_torch(value: Any, kind: str) -> Any:
    import torch

    if kind == "Tensor" and _is_numeric(value):
        return torch.tensor(value, dtype=torch.get_default_dtype())  # a weight of 1 means 1.0
    dtype = getattr(torch, value.removeprefix("torch."), None) if isinstance(value, str) else None
    if kind == "dtype" and isinstance(dtype, torch.dtype):
        return dtype
    if kind == "device" and isinstance(value, str):
        return torch.device(value)
    raise ValueError(f"not a {kind}")


def _is_numeric(value: Any) -> bool:
    return all(map(_is_numeric, value)) if isinstance(value, (list, tuple)) else isinstance(value, (bool, int, float))
