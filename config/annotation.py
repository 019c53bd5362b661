"""Whether a plain YAML value fits an annotation, and how it becomes what the annotation asks for."""

import collections.abc
import enum
import inspect
import pathlib
import types
import typing
from collections.abc import Mapping
from typing import Any

from .problems import describe

_ABC = collections.abc
_SEQUENCES = (
    list,
    set,
    frozenset,
    _ABC.Sequence,
    _ABC.MutableSequence,
    _ABC.Iterable,
    _ABC.Collection,
    _ABC.Set,
)
_MAPPINGS = (dict, _ABC.Mapping, _ABC.MutableMapping)
# Classes of torch, known by name so that this module does not import torch.
_OBJECTS_OF_TORCH = {"Module", "Generator", "Optimizer", "ProcessGroup"}


def mismatch(value: Any, annotation: Any) -> str | None:
    """Why a plain value does not fit an annotation (`expected a number`), or None; unknown ones accept."""
    return None if _fits(value, annotation) else f"expected {_words(annotation)}"


def _fits(value: Any, annotation: Any) -> bool:
    annotation = _simplify(annotation)
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, member) for member in inner)
    if origin is typing.Literal:
        return any(value == allowed and type(value) is type(allowed) for allowed in inner)
    if annotation is None or annotation is types.NoneType:
        return value is None
    if origin is bool:
        return isinstance(value, bool)
    if origin in (int, float, complex):
        return isinstance(value, int if origin is int else (int, float)) and not isinstance(value, bool)
    if origin in (str, bytes) or origin is pathlib.Path:
        return isinstance(value, str)
    if origin is tuple:
        return isinstance(value, (list, tuple)) and _fits_tuple(value, inner)
    if origin in _SEQUENCES:
        return isinstance(value, (list, tuple)) and all(_fits(item, inner[0]) for item in value if inner)
    if origin in _MAPPINGS:
        return isinstance(value, Mapping) and all(_fits(item, inner[1]) for item in value.values() if inner)
    if origin in (_ABC.Callable, type):
        return callable(value)
    # Any is a class since Python 3.11.
    return _fits_class(value, origin) if inspect.isclass(origin) and origin is not Any else True


def _fits_tuple(values: list, inner: tuple) -> bool:
    # tuple[X] is written by many for "any number of X", so one type stands for every length.
    if len(inner) == 1 or (len(inner) == 2 and inner[1] is Ellipsis):
        return all(_fits(value, inner[0]) for value in values)
    return not inner or (len(inner) == len(values) and all(map(_fits, values, inner)))


def _fits_class(value: Any, cls: type) -> bool:
    if isinstance(value, cls):
        return True
    if issubclass(cls, enum.Enum):
        return _member(value, cls) is not None
    if _is_torch(cls, "Tensor"):
        return _is_numeric(value)
    if _is_torch(cls, "dtype"):
        return _dtype(value) is not None
    if _is_torch(cls, "device"):
        return isinstance(value, str)
    return not (cls.__module__.split(".")[0] == "torch" and cls.__name__ in _OBJECTS_OF_TORCH)


def _simplify(annotation: Any) -> Any:
    """The annotation without Annotated, Final and NewType around it."""
    while True:
        if typing.get_origin(annotation) in (typing.Annotated, typing.Final, typing.ClassVar):
            annotation = typing.get_args(annotation)[0]
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        else:
            return annotation


def _is_torch(cls: Any, name: str) -> bool:
    return inspect.isclass(cls) and cls.__name__ == name and cls.__module__.split(".")[0] == "torch"


def _is_numeric(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_numeric, value))
    return isinstance(value, (bool, int, float))


def _member(value: Any, cls: type[enum.Enum]) -> enum.Enum | None:
    """The member with this name, whatever the case, or this value."""
    for name, member in cls.__members__.items():
        named = isinstance(value, str) and value.lower() == name.lower()
        if named or (value == member.value and type(value) is type(member.value)):
            return member
    return None


def _dtype(value: Any) -> Any:
    import torch

    dtype = getattr(torch, value.removeprefix("torch."), None) if isinstance(value, str) else None
    return dtype if isinstance(dtype, torch.dtype) else None


def convert(value: Any, annotation: Any) -> Any:
    """A plain value as its annotation asks for it.

    Lists become tensors (float) or tuples, text becomes an enum's member, a torch.dtype or torch.device.
    A value that fits as it is, or does not fit at all, stays as it is.
    """
    annotation = _simplify(annotation)
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if value is None or not _fits(value, annotation):
        return value
    if origin in (typing.Union, types.UnionType):
        # As it is if it can be; a tensor only where nothing plainer fits.
        members = sorted((m for m in inner if _fits(value, m)), key=lambda member: _is_torch(member, "Tensor"))
        converted = [convert(value, member) for member in members]
        return next((item for item in converted if item is value), converted[0])
    if origin is tuple:
        each = inner if len(inner) == len(value) and Ellipsis not in inner else (inner or (Any,))[:1] * len(value)
        return tuple(map(convert, value, each))
    if origin in _SEQUENCES and inner:
        items = [convert(item, inner[0]) for item in value]
        return value if all(map(lambda new, old: new is old, items, value)) else items
    return _convert_to_class(value, origin) if inspect.isclass(origin) and origin is not Any else value


def _convert_to_class(value: Any, cls: type) -> Any:
    if isinstance(value, cls):
        return value
    if issubclass(cls, enum.Enum):
        return _member(value, cls)
    if cls is pathlib.Path:
        return pathlib.Path(value)
    if _is_torch(cls, "dtype"):
        return _dtype(value)
    if _is_torch(cls, "Tensor") or _is_torch(cls, "device"):
        import torch

        # Whole numbers too become floats: a weight of 1 means 1.0.
        return torch.tensor(value, dtype=torch.get_default_dtype()) if cls is torch.Tensor else torch.device(value)
    return value


def _words(annotation: Any) -> str:
    """An annotation in words for a person who writes YAML."""
    annotation = _simplify(annotation)
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        words = list(dict.fromkeys(map(_words, inner)))
        return " or ".join(text for text in words if not any(other.startswith(f"{text} or ") for other in words))
    if origin is typing.Literal:
        return " or ".join(map(describe, inner))
    if annotation is None or annotation is types.NoneType:
        return "null"
    plain = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        pathlib.Path: "a path",
    }
    if origin in plain:
        return plain[origin]
    if origin is tuple and len(inner) > 1 and inner[1] is not Ellipsis:
        return f"a list [{', '.join(map(_words, inner))}]"
    if origin is tuple or origin in _SEQUENCES:
        return f"a list of {_words(inner[0])}" if inner and not isinstance(inner[0], typing.TypeVar) else "a list"
    if origin in _MAPPINGS:
        return "a mapping"
    if inspect.isclass(origin) and issubclass(origin, enum.Enum):
        return "one of " + ", ".join(origin.__members__)
    if _is_torch(origin, "Tensor"):
        return "a number or a list of numbers"
    if _is_torch(origin, "dtype"):
        return "a dtype such as float32"
    return f"{getattr(origin, '__name__', origin)} (which a config cannot hold: leave it out)"


def written(annotation: Any) -> str:
    """An annotation as a person writes it in code: `int | None`, `list[float]`, `Tensor`, `'sum' | 'mean'`."""
    annotation = _simplify(annotation)
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(dict.fromkeys(map(written, inner)))
    if origin is typing.Literal:
        return " | ".join(map(repr, inner))
    if isinstance(annotation, list):  # what a Callable takes
        return f"[{', '.join(map(written, annotation))}]"
    if annotation in (None, types.NoneType):
        return "None"
    if annotation is Ellipsis:
        return "..."
    if isinstance(annotation, (str, typing.ForwardRef)):
        return getattr(annotation, "__forward_arg__", annotation)
    name = getattr(origin, "__name__", str(origin))
    return f"{name}[{', '.join(map(written, inner))}]" if inner else name
