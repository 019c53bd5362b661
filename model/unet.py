"""A small U-Net."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base import MODELS, BaseModel, Count


@MODELS.register
class UNet(BaseModel):
    """A score a class for each pixel: pictures (N, in_channels, H, W) of any size -> (N, num_classes, H, W).

    widths: channels at each scale, each half as fine as the one before.
    Source: O. Ronneberger et al., "U-Net" (2015), with batch normalisation and with borders that keep the size.
    """

    def __init__(self, num_classes: Count, in_channels: Count, widths: Sequence[Count] = (16, 32, 64)):
        super().__init__()
        self.down = nn.ModuleList()
        for width in widths:
            self.down.append(_two_convolutions(in_channels, width))
            in_channels = width
        self.up = nn.ModuleList()
        for width in reversed(widths[:-1]):
            self.up.append(_two_convolutions(in_channels + width, width))
            in_channels = width
        self.head = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, pictures: Tensor) -> Tensor:
        scales = [self.down[0](pictures)]
        for layer in self.down[1:]:
            scales.append(layer(F.max_pool2d(scales[-1], 2)))
        features = scales.pop()
        for layer in self.up:
            finer = scales.pop()
            features = layer(torch.cat([finer, F.interpolate(features, finer.shape[-2:])], dim=1))
        return self.head(features)


def _two_convolutions(in_channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()),
    )
