"""How a plain YAML value becomes what an annotation asks for."""

import enum
import inspect
import pathlib
import typing
from collections import abc
from contextlib import suppress
from types import NoneType
from typing import Annotated, Any

from pydantic import TypeAdapter

from base.signature import hints_of, parameters_of
from config.reference import LISTS, MAPPINGS, UNIONS, choices_in, fields_of, is_of_torch, is_open, unwrapped, words_of

# The plain types that an annotation takes as they are.
_NUMBERS = (int, float)
_TAKES = {None: (NoneType,), NoneType: (NoneType,), bool: (bool,), int: (int,), float: _NUMBERS, complex: _NUMBERS,
          str: (str,), bytes: (str,)}  # fmt: skip
# What is no class of objects to `_fit`; functions and classes no config can give at all.
_NO_OBJECTS = (*_TAKES, tuple, *LISTS, *MAPPINGS, abc.Callable, type)


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
    parameters, hints = parameters_of(cls), hints_of(cls)
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
