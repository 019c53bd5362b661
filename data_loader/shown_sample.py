"""A sample for people to look at: its picture, or its text."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from torch import Tensor

from base.batch import split_target
from data_loader.samples import pictures_to_tensors
from utils.errors import UserError


def picture_of(dataset: Any, index: int) -> numpy.ndarray | None:
    """The first picture among a sample's inputs, before any transform, uint8 (H, W, 3); None where there is none.

    A picture is uint8, or floats from 0 to 1, (1 or 3, H, W).
    """
    try:
        inputs, _ = split_target(pictures_to_tensors(dataset[index]))
    except (OSError, UserError):
        return None
    for pixels in (*inputs.args, *inputs.kwargs.values()):
        if not isinstance(pixels, Tensor) or pixels.ndim != 3 or pixels.shape[0] not in (1, 3):
            continue
        if pixels.is_floating_point() and bool(((pixels >= 0) & (pixels <= 1)).all()):
            pixels = (pixels * 255).round().to(torch.uint8)
        if pixels.dtype is torch.uint8:
            return pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    return None


def text_of(dataset: Any, index: int) -> str | None:
    """What a sample says; None where it is no text."""
    return dataset.text_of(index) if hasattr(dataset, "text_of") else None
