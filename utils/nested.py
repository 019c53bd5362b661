"""Batches are tensors in tuples, lists and dicts, however nested."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor


def map_tensors(data: Any, fn: Callable[[Tensor], Any]) -> Any:
    """The same tuples, lists and dicts with fn applied to every tensor in them."""
    if isinstance(data, Tensor):
        return fn(data)
    if isinstance(data, (tuple, list)):
        values = [map_tensors(value, fn) for value in data]
        return type(data)(*values) if hasattr(data, "_fields") else type(data)(values)
    if isinstance(data, (dict, Mapping)):  # dict first: to ask an abstract class takes longer
        return {key: map_tensors(value, fn) for key, value in data.items()}
    return data
