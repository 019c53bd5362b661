"""Take a batch apart and bring it to the device. Batches may be tuples, dicts or nested."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

TARGET_KEYS = ("target", "targets", "label", "labels", "y")


class ModelInputs(NamedTuple):
    """What a model is called with: `model(*args, **kwargs)`."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def split_target(data: Any) -> tuple[ModelInputs, Any]:
    """Divide a batch into what the model gets and the target.

    (x, y): model(x); (a, b, y): model(a, b); ({"a": a, "b": b}, y): model(a=a, b=b);
    {"a": a, "target": y}: model(a=a). ValueError when there is no telling.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[0], Tensor):  # nearly always
        return ModelInputs((data[0],), {}), data[1]
    if isinstance(data, Mapping):
        key = next((key for key in TARGET_KEYS if key in data), None)
        if key is None:
            raise ValueError(f"a batch that is a dict needs one of the keys {TARGET_KEYS}; it has {tuple(data)}")
        return ModelInputs((), {name: value for name, value in data.items() if name != key}), data[key]
    if not isinstance(data, (tuple, list)) or len(data) < 2:
        raise ValueError(f"a batch is (input, ..., target) or a dict with a target; found {type(data).__name__}")
    *inputs, target = data
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        return ModelInputs((), dict(inputs[0])), target
    if len(inputs) == 1 and isinstance(inputs[0], (tuple, list)):
        return ModelInputs(tuple(inputs[0]), {}), target
    return ModelInputs(tuple(inputs), {}), target


def is_picture_batch(tensor: Any) -> bool:
    """Is this (N, C, H, W) in floating point?"""
    return isinstance(tensor, Tensor) and tensor.ndim == 4 and tensor.is_floating_point()


def uint8_to_float(tensor: Tensor) -> Tensor:
    """Pictures are stored and moved as uint8 and become floats in [0, 1] on the device."""
    return tensor.float().div_(255) if tensor.dtype == torch.uint8 else tensor
