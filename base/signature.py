"""Which arguments a component takes, by its signature."""

import inspect
import sys
import typing
from collections import abc
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple

from pydantic import Field

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
        returned = hints_of(chain[0]).get("return")
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
    hints = hints_of(function)
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


def hints_of(component: Callable) -> dict[str, Any]:
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
