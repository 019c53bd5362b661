"""What a component's signature accepts, and how a plain YAML value becomes what it asks for."""

import enum
import inspect
import pathlib
import typing
from collections import abc
from collections.abc import Callable
from contextlib import suppress
from types import NoneType
from typing import Any, NamedTuple

from config.reference import LISTS, MAPPINGS, UNIONS, is_of_torch, is_open, unwrapped, words_of

# A **kwargs that no signature explains swallows what is misspelt, so it counts as closed in these, open elsewhere.
LIBRARIES = {"torch", "torchvision", "torchmetrics", "kornia"}
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
# Classes of torch that no plain value can become.
_OBJECTS_OF_TORCH = ("Module", "Generator", "Optimizer", "ProcessGroup")


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
    return Parameters(by_name, has_kwargs and function.__module__.split(".")[0] not in LIBRARIES)


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
        elif parameter.kind is not parameter.VAR_POSITIONAL and not (index == 0 and name in ("self", "cls")):
            annotation = hints.get(name, parameter.annotation)
            if annotation is parameter.empty:
                annotation = _annotation_like(parameter.default)
            own[name] = Parameter(annotation, parameter.default, parameter.default is parameter.empty)
    taken = _TAKEN_FROM_KWARGS.get(function.__qualname__.split(".")[0], ())
    return own | dict.fromkeys(taken, Parameter(Any, None, required=False)), has_kwargs


def _hints(function: Callable) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError, SyntaxError):  # names that exist for type checkers only
        return dict(getattr(function, "__annotations__", {}))


def _annotation_like(default: Any) -> Any:
    """A gentle guess from a default value where there is no annotation."""
    if isinstance(default, bool):
        return bool | None
    if isinstance(default, (int, float)):
        return float | None
    return str | None if isinstance(default, str) else Any


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
    annotation, _ = unwrapped(annotation)
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    is_list = isinstance(value, (list, tuple))
    if origin in UNIONS:
        for member in sorted(inner, key=_order_of_trial):
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
        return [_fit(item, inner[0]) for item in value] if inner else value
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


def _as_object(value: Any, cls: type) -> Any:
    """A plain value as an object of a class; one that nothing is known of is the class's own business."""
    if isinstance(value, cls):
        return value
    if issubclass(cls, enum.Enum):
        return _member(value, cls)
    if is_of_torch(cls, "Tensor", "dtype", "device"):
        return _as_torch(value, cls.__name__)
    if is_of_torch(cls, *_OBJECTS_OF_TORCH) or (cls is pathlib.Path and not isinstance(value, str)):
        raise ValueError("a config cannot hold it")
    return pathlib.Path(value) if cls is pathlib.Path else value


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
