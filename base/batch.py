"""What goes from room to room: a batch of samples, what a model is called with, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

TARGET_KEYS = ("target", "targets", "label", "labels", "y")


class Batch(NamedTuple):
    """indices: int64 (N,), the dataset's own numbering; data: (inputs, targets), a dict, or nested.

    skipped: of the samples that could not be read and are left out, the index and the reason.
    counts: False where a process has no part of a small last batch: a sample keeps it in step with the others.
    """

    indices: Tensor
    data: Any
    skipped: tuple[tuple[int, str], ...] = ()
    counts: bool = True

    @property
    def num_samples(self) -> int:
        """How many samples count."""
        return len(self.indices) if self.counts else 0


class Loader(Protocol):
    """What the training loop asks of a loader; `data_loader/batch_loader.py` is the one that there is."""

    def __len__(self) -> int:
        """Batches an epoch."""

    def batches(self, epoch: int = 0, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from batch `first` on."""

    def name_of(self, index: int) -> str:
        """What to call a sample in a message."""

    def tell_skipped(self) -> None:
        """Tell of samples that were left out, with all processes."""


class ModelInputs(NamedTuple):
    """What a model is called with: `model(*args, **kwargs)`."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Forward(NamedTuple):
    """What came of one batch. loss: a mean, a scalar.

    weight: what the sum was divided by for that mean, as a number or a tensor (); None: by the number of samples.
    parts: the named parts of a loss that has some, of which the loss is the sum.
    """

    inputs: ModelInputs
    output: Any
    target: Any
    loss: Tensor
    weight: Tensor | float | None = None
    parts: dict[str, Tensor] | None = None


def split_target(data: Any) -> tuple[ModelInputs, Any]:
    """Divide the data of a batch into what the model gets and the target, None where there is none.

    (x, y): model(x); (a, b, y): model(a, b); ({"a": a, "b": b}, y): model(a=a, b=b); {"a": a, "target": y}: model(a=a).
    Without a target: x or (x,): model(x); ((a, b),): model(a, b); {"a": a}: model(a=a). ValueError for anything else.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[0], Tensor):  # nearly always
        return ModelInputs((data[0],), {}), data[1]
    if isinstance(data, Mapping):
        keys = [key for key in TARGET_KEYS if key in data]
        if len(keys) > 1 or len(keys) == len(data):
            expected = f"inputs and at most one of {', '.join(TARGET_KEYS)}"
            raise ValueError(f"a sample that is a dict has {expected}; found {', '.join(map(str, data))}")
        inputs = {name: value for name, value in data.items() if name not in keys}
        return ModelInputs((), inputs), data[keys[0]] if keys else None
    if isinstance(data, Tensor):
        return ModelInputs((data,), {}), None
    if not isinstance(data, (tuple, list)) or not data:
        raise ValueError(
            "a sample is (input, ..., target), a dict with a target, or without one: an input, (input,) or a dict; "
            f"found {type(data).__name__}{' of no items' if isinstance(data, (tuple, list)) else ''}"
        )
    *inputs, target = data if len(data) > 1 else (*data, None)
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        return ModelInputs((), dict(inputs[0])), target
    if len(inputs) == 1 and isinstance(inputs[0], (tuple, list)):
        return ModelInputs(tuple(inputs[0]), {}), target
    return ModelInputs(tuple(inputs), {}), target


def with_target(data: Any, target: Any) -> Any:
    """The data of a batch with another target in place of its own."""
    if isinstance(data, Mapping):
        return {name: target if name in TARGET_KEYS else value for name, value in data.items()}
    return [*data[:-1], target]


def map_tensors(data: Any, fn: Callable[[Tensor], Any]) -> Any:
    """The same tuples, lists and dicts, however nested, with fn applied to every tensor in them."""
    if isinstance(data, Tensor):
        return fn(data)
    if isinstance(data, (tuple, list)):
        values = [map_tensors(value, fn) for value in data]
        return type(data)(*values) if hasattr(data, "_fields") else type(data)(values)
    if isinstance(data, (dict, Mapping)):  # dict first: to ask an abstract class takes longer
        return {key: map_tensors(value, fn) for key, value in data.items()}
    return data


def is_picture_batch(tensor: Any) -> bool:
    """Is this (N, C, H, W) in floating point?"""
    return isinstance(tensor, Tensor) and tensor.ndim == 4 and tensor.is_floating_point()


def are_class_scores(output: Tensor, target: Tensor) -> bool:
    """Is this a score a class, (N, C, ...), for targets that are classes, (N, ...)?"""
    return output.ndim == target.ndim + 1 and not target.is_floating_point()


def uint8_to_float(tensor: Tensor) -> Tensor:
    """Pictures are stored and moved as uint8 and become floats in [0, 1] on the device."""
    return tensor.float().div_(255) if tensor.dtype == torch.uint8 else tensor
