"""What a component's signature accepts."""

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
    by_name: dict[str, Parameter] = {}
    is_open = False
    for depth, function in enumerate(_call_chain(component)):
        own, is_open = _own_parameters(function)
        for name, parameter in own.items():
            # What is passed on may be filled in by the function that passes it on: never required.
            by_name.setdefault(name, parameter if depth == 0 else parameter._replace(required=False))
        if not is_open:
            break
        popped = _names_popped(function)
        if popped:
            by_name.update({name: Parameter(Any, None, False) for name in popped if name not in by_name})
            is_open = False
    return Parameters(by_name, is_open)


def _call_chain(component: Callable) -> list[Callable]:
    """The functions that arguments given to the component may reach, first the one called first."""
    chain = []
    if not inspect.isclass(component):
        function = inspect.unwrap(component)
        chain.append(function)
        component = _hints(function).get("return")
        if not inspect.isclass(component):
            return chain
    for base in component.__mro__:
        # torch.nn.Module takes no arguments of its own; its signature says *args, **kwargs.
        if base is object or (base.__name__ == "Module" and base.__module__.startswith("torch.nn.")):
            break
        for method in ("__new__", "__init__"):
            if inspect.isfunction(function := inspect.unwrap(_raw(base, method))):
                chain.append(function)
                break
    return chain


def _raw(base: type, method: str) -> Any:
    function = base.__dict__.get(method)
    return function.__func__ if isinstance(function, staticmethod) else function


def _own_parameters(function: Callable) -> tuple[dict[str, Parameter], bool]:
    """The parameters of one function without `self`, and whether it has `**kwargs`."""
    hints = _hints(function)
    own, is_open = {}, False
    for index, (name, parameter) in enumerate(inspect.signature(function).parameters.items()):
        if parameter.kind is parameter.VAR_KEYWORD:
            is_open = True
        elif parameter.kind is not parameter.VAR_POSITIONAL and not (index == 0 and name in ("self", "cls")):
            annotation = hints.get(name, parameter.annotation)
            if annotation is parameter.empty:
                annotation = _annotation_like(parameter.default)
            own[name] = Parameter(annotation, parameter.default, parameter.default is parameter.empty)
    return own, is_open


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


def _names_popped(function: Callable) -> set[str]:
    """The names that a function takes out of its own `**kwargs`, as torchmetrics.Metric does."""
    code = function.__code__
    if "pop" not in code.co_names:
        return set()
    return {text for text in code.co_consts if isinstance(text, str) and text.isidentifier()}
