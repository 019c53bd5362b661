"""What a component's signature accepts."""

import dis
import inspect
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

from .annotation import convert, mismatch

__all__ = ["Parameter", "Parameters", "convert", "mismatch", "parameters_of"]


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

    `**kwargs` leads to the next `__init__` in the MRO, and from a builder function to what it returns.
    """
    chain, helpers = [], []
    returned = component
    if not inspect.isclass(component):
        function = inspect.unwrap(component)
        chain, helpers, returned = [function], _helpers(function), _hints(function).get("return")
    if inspect.isclass(returned):
        chain += _constructors(returned)
    by_name: dict[str, Parameter] = {}
    is_open = False
    for function in chain:
        own, is_open = _own_parameters(function)
        _add(by_name, own, is_first=function is chain[0])
        if not is_open:
            break
        if popped := _names_popped(function):
            _add(by_name, popped, is_first=False)
            is_open = False
        for helper in helpers:
            _add(by_name, {**_own_parameters(helper)[0], **_names_popped(helper)}, is_first=False)
    return Parameters(by_name, is_open)


def _add(by_name: dict[str, Parameter], own: dict[str, Parameter], is_first: bool) -> None:
    """What is passed on may be filled in by the function that passes it on: only its own are ever required."""
    for name, parameter in own.items():
        by_name.setdefault(name, parameter if is_first else parameter._replace(required=False))


def _constructors(cls: type) -> list[Callable]:
    """The `__new__` or `__init__` of a class and of those that it inherits from, in the order of the MRO."""
    constructors = []
    for base in cls.__mro__:
        # torch.nn.Module takes no arguments of its own; its signature says *args, **kwargs.
        if base is object or (base.__name__ == "Module" and base.__module__.startswith("torch.nn.")):
            break
        for method in ("__new__", "__init__"):
            if inspect.isfunction(function := inspect.unwrap(_raw(base, method))):
                constructors.append(function)
                break
    return constructors


def _helpers(function: Callable) -> list[Callable]:
    """The functions to which a builder of torchvision hands its **kwargs, and which may take some for themselves."""
    if not inspect.isfunction(function):
        return []
    called = (function.__globals__.get(name) for name in function.__code__.co_names)
    return [helper for helper in called if inspect.isfunction(helper) and _has_kwargs(helper)]


def _raw(base: type, method: str) -> Any:
    function = base.__dict__.get(method)
    return function.__func__ if isinstance(function, staticmethod) else function


def _own_parameters(function: Callable) -> tuple[dict[str, Parameter], bool]:
    """The parameters of one function without `self`, and whether it has `**kwargs`."""
    hints = _hints(function)
    own, is_open = {}, False
    for index, (name, parameter) in enumerate(inspect.signature(function).parameters.items()):
        if parameter.kind is parameter.VAR_KEYWORD:
            is_open = _uses(function, name)  # else it swallows every misspelt argument
        elif parameter.kind is not parameter.VAR_POSITIONAL and not (index == 0 and name in ("self", "cls")):
            annotation = hints.get(name, parameter.annotation)
            if annotation is parameter.empty:
                annotation = _annotation_like(parameter.default)
            own[name] = Parameter(annotation, parameter.default, parameter.default is parameter.empty)
    return own, is_open


def _has_kwargs(function: Callable) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def _uses(function: Callable, variable: str) -> bool:
    """Whether a function reads a variable of its own."""
    read = [step.argval for step in dis.get_instructions(function) if step.opname.startswith("LOAD")]
    return any(variable == name or (isinstance(name, tuple) and variable in name) for name in read)


def _hints(function: Callable) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError, SyntaxError):  # names that exist for type checkers only
        return {name: hint for name, hint in getattr(function, "__annotations__", {}).items()}


def _annotation_like(default: Any) -> Any:
    """A gentle guess from a default value where there is no annotation."""
    if isinstance(default, bool):
        return bool | None
    if isinstance(default, (int, float)):
        return float | None
    return str | None if isinstance(default, str) else Any


def _names_popped(function: Callable) -> dict[str, Parameter]:
    """What a function takes out of its own `**kwargs` with `kwargs.pop("name", ...)`, as torchmetrics.Metric does."""
    names, is_popping = [], False
    for step in dis.get_instructions(function):
        if is_popping and isinstance(step.argval, str) and step.opname.startswith("LOAD_CONST"):
            names.append(step.argval)
        is_popping = step.argval == "pop" or (is_popping and not step.opname.startswith("LOAD_CONST"))
    return dict.fromkeys(names, Parameter(Any, None, required=False))
