"""Targets that are not simply the samples': none of their own, several samples' mixed, or standardised ones."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import Any

from torch import Tensor, nn

from base.batch import TARGET_KEYS, ModelInputs, is_picture_batch
from utils.errors import UserError


def mixes(transform: nn.Module) -> bool:
    """Whether a transform mixes the samples of a batch, and their targets with them."""
    return getattr(transform, "mixes_samples", False)


def mixed(mixing: Sequence[nn.Module], inputs: ModelInputs, target: Any) -> tuple[ModelInputs, Tensor]:
    """Pictures and targets (N, num_classes) after transforms that mix. UserError but for pictures and classes."""
    is_picture = len(inputs.args) == 1 and is_picture_batch(inputs.args[0])
    if not is_picture or not isinstance(target, Tensor) or target.ndim != 1 or target.is_floating_point():
        needed = "one input and class numbers (N,), and the input must be pictures (N, C, H, W)"
        raise UserError(f"dataset.batch_transforms.train: what mixes samples needs {needed}")
    pictures = inputs.args[0]
    if len(pictures) != len(target):
        told = f"for what mixes samples, {len(pictures)} pictures have {len(target)} targets, as after TwoViews"
        raise UserError(f"dataset.batch_transforms.train: {told}; take one of the two out")
    for mix in mixing:
        pictures, target = mix(pictures, target)
    return ModelInputs((pictures,), {}), target


def is_signal_for(transforms: nn.Sequential, tensor: Tensor) -> bool:
    """Whether these are signals (N, C, T), such as recordings, and one of the transforms of a batch takes such."""
    is_signal = tensor.ndim == 3 and tensor.is_floating_point()
    return is_signal and any(getattr(each, "takes_signals", False) for each in transforms)


def in_own_unit(output: Any, target: Any, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor | None]:
    """Output and target, if any, of standardised data in the unit of the data. UserError for several."""
    if not isinstance(output, Tensor) or not isinstance(target, (Tensor, NoneType)):
        what, found = ("model's output", output) if not isinstance(output, Tensor) else ("target", target)
        raise UserError(
            f"the targets are standardised (the dataset has a target_scale), and the {what} is no tensor but a "
            f"{type(found).__name__}: which of its numbers are in the target's unit is not known. Leave the targets as "
            "they are (of TabularCSV: standardise_target: false), or return one tensor"
        )
    output = output.float() * deviation + mean  # bf16 holds three digits
    return output, target if target is None else target * deviation + mean


def the_input(inputs: ModelInputs, loss: str) -> Any:
    """What a library's loss compares the output with where samples have no target: what the model was given."""
    values = [*inputs.args, *inputs.kwargs.values()]
    if len(values) != 1:
        raise UserError(
            f"loss {loss}: the samples have no target, and of their {len(values)} inputs none is the one to learn; "
            f"a sample is (input, ..., target), or a dict with one of {', '.join(TARGET_KEYS)}"
        )
    return values[0]
