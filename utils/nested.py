"""Batches are tensors in tuples, lists and dicts, however nested."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor


def map_tensors(data: Any, fn: Callable[[Tensor], Any]) -> Any:
    """The same tuples, lists and dicts with fn applied to every tensor in them."""
    if isinstance(data, Tensor):
        return fn(data)
    if isinstance(data, Mapping):
        return {key: map_tensors(value, fn) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*[map_tensors(value, fn) for value in data])
    if isinstance(data, (tuple, list)):
        return type(data)([map_tensors(value, fn) for value in data])
    return data
