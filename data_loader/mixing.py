"""Batch transforms that mix the samples of a batch, and their targets with them.

Such a transform has `mixes_samples = True`, gets pictures and class numbers, and returns both; the loss gets the share
of each class in each picture, the metrics the class with the greatest share.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from base import BATCH_TRANSFORMS, Count


class Mixing(nn.Module):
    """One of torchvision's transforms that mix: float (N, C, H, W), int64 (N,) -> the same, float (N, num_classes)."""

    mixes_samples = True

    def __init__(self, alpha: Annotated[float, Field(gt=0)] = 1.0, num_classes: Count | None = None):
        from torchvision.transforms import v2

        super().__init__()
        self.mix = getattr(v2, type(self).__name__)(alpha=alpha, num_classes=num_classes)

    def forward(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return self.mix(inputs, targets)


@BATCH_TRANSFORMS.register
class MixUp(Mixing):
    """Weighted means of two pictures and of their targets; weights from Beta(alpha, alpha). Zhang et al. (2018)."""


@BATCH_TRANSFORMS.register
class CutMix(Mixing):
    """A rectangle of another picture, whose target counts by its area; from Beta(alpha, alpha). Yun et al. (2019)."""
