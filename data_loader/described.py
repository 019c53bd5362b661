"""What a checkpoint says of the inputs and the targets of its data: plain data, for when these are not there."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from base.batch import split_target
from base.target_kind import TargetKind
from data_loader.batch_loader import BatchLoader
from utils.errors import UserError


def targets_described(loader: BatchLoader, target: Any) -> dict[str, Any] | None:
    """A TargetKind as plain data: of a batch, and of all targets where they are at hand."""
    kind, targets = TargetKind.of(target), loader.targets
    if kind is None:
        return None
    is_binary = kind.is_binary and (targets is None or TargetKind.of(targets).is_binary)
    return {"is_whole": kind.is_whole, "is_binary": is_binary, "shape": [*kind.shape]}


def inputs_described(loader: BatchLoader) -> dict[str, Any] | None:
    """How the inputs of a batch come from the loader: what export.py needs to know once the data are gone.

    Of each tensor dtype, shape without the batch's dimension, its dimensions that are not always the same, and range.
    None for other inputs than tensors, and where the samples that are looked at cannot be read.
    """
    try:
        alone, some = (split_target(loader.example(number).data)[0] for number in (1, 4))
    except UserError:  # data_loader.skip_bad_samples may let the run go on
        return None
    if not all(isinstance(value, Tensor) and value.numel() for value in (*some.args, *some.kwargs.values())):
        return None
    return {
        "args": [_tensor_described(*both) for both in zip(alone.args, some.args, strict=True)],
        "kwargs": {name: _tensor_described(alone.kwargs[name], value) for name, value in some.kwargs.items()},
    }


def _tensor_described(other: Tensor, tensor: Tensor) -> dict[str, Any]:
    shape = list(tensor.shape[1:])
    return {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": shape,
        "varying": [place for place, size in enumerate(other.shape[1:]) if size != shape[place]],
        "low": tensor.min().item(),
        "high": tensor.max().item(),
    }
