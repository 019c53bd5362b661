"""Transforms of a batch of pictures on the device, where they are several times as fast as kornia's.

Each picture of the batch gets its own randomness, drawn from the global generator of the device it is on.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from base import BATCH_TRANSFORMS, Count, Share
from utils.errors import UserError


@BATCH_TRANSFORMS.register
class Normalize(nn.Module):
    """(input - mean) / std by channel. Input float (N, C, ...), in [0, 1] where the data are uint8.

    mean, std: one number a channel, or one for all.
    """

    def __init__(self, mean: list[float], std: list[float]):
        super().__init__()
        if len(mean) != len(std) or min(std, default=0) <= 0:
            raise UserError(f"Normalize: mean and std need the same length and std > 0; found mean {mean}, std {std}")
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        shape = (-1,) + (1,) * (inputs.ndim - 2)  # (C,) -> (C, 1, 1) for pictures
        return (inputs - self.mean.view(shape)).div_(self.std.view(shape))  # without memory for a third copy


@BATCH_TRANSFORMS.register
class RandomHorizontalFlip(nn.Module):
    """Mirror each picture left to right with probability p. Input (N, C, H, W)."""

    moves_pixels = True

    def __init__(self, p: Share = 0.5):
        super().__init__()
        self.p = p

    def forward(self, inputs: Tensor) -> Tensor:
        is_flipped = torch.rand(len(inputs), device=inputs.device) < self.p
        chosen = torch.arange(len(inputs), device=inputs.device) + len(inputs) * is_flipped
        return torch.cat([inputs, inputs.flip(3)]).index_select(0, chosen)  # torch.where takes three times as long


@BATCH_TRANSFORMS.register
class RandomCrop(nn.Module):
    """Cut a piece of `size` at a random place out of each picture, padded on all sides. Input (N, C, H, W).

    size: height and width; null: those of the pictures before the padding. padding: pixels a side; padding_mode: what
    the padding holds, zeros for constant.
    """

    moves_pixels = True

    def __init__(
        self,
        size: Count | tuple[Count, Count] | None = None,
        padding: Annotated[int, Field(ge=0)] = 0,
        padding_mode: Literal["constant", "reflect", "replicate"] = "constant",
    ):
        super().__init__()
        self.size = (size, size) if isinstance(size, int) else size and tuple(size)
        self.padding = padding
        self.padding_mode = padding_mode

    def forward(self, inputs: Tensor) -> Tensor:
        height, width = self.size or inputs.shape[2:]
        if self.padding_mode == "reflect" and self.padding >= min(inputs.shape[2:]):
            pictures = "x".join(map(str, inputs.shape[2:]))
            raise UserError(f"RandomCrop: padding {self.padding} is too much to reflect pictures of {pictures}")
        if self.padding:
            inputs = nn.functional.pad(inputs, (self.padding,) * 4, mode=self.padding_mode)
        num_samples, channels, all_rows, all_columns = inputs.shape
        if height > all_rows or width > all_columns:
            raise UserError(
                f"RandomCrop: size {height}x{width} is larger than the padded pictures, {all_rows}x{all_columns}"
            )
        device = inputs.device
        top = torch.randint(all_rows - height + 1, (num_samples, 1, 1), device=device)
        left = torch.randint(all_columns - width + 1, (num_samples, 1, 1), device=device)
        # Whole rows are copied, which takes half the time of single numbers: of (N, C, height), where each row begins.
        planes = torch.arange(num_samples * channels, device=device).view(num_samples, channels, 1)
        begins = (planes * all_rows + top + torch.arange(height, device=device)) * all_columns + left
        pieces = inputs.flatten().unfold(0, width, 1)  # from every number on, a view
        return pieces.index_select(0, begins.flatten()).view(num_samples, channels, height, width)


@BATCH_TRANSFORMS.register
class TwoViews(nn.Module):
    """Each picture twice, (N, C, H, W) -> (2 N, C, H, W): all of them, then all again. What follows makes the views.

    Transforms that come after it draw for each of the two by itself.
    """

    makes_views = True

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cat([inputs, inputs])
