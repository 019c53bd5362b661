"""Made-up points of which a line says nearly all: the first data set of a tutorial."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from base import DATASETS, Count
from data_loader.in_memory import InMemoryDataset
from utils.seeding import seeded_generator


@DATASETS.register
class LinearData(InMemoryDataset):
    """Inputs float32 (N, K), drawn from N(0, 1); targets (N, 1): inputs @ weights + bias, and noise.

    size: points of the training part; the validation and the test part have a fifth as many. noise: its deviation.
    Source: A. Zhang et al., "Dive into Deep Learning", section 3.3.
    """

    def __init__(
        self,
        split: str,
        weights: Sequence[float] = (2.0, -3.4),
        bias: float = 4.2,
        noise: Annotated[float, Field(ge=0)] = 0.01,
        size: Count = 1000,
        seed: int = 0,
    ):
        num_points = size if split == "train" else max(1, size // 5)
        generator = seeded_generator("linear data", split, seed)
        inputs = torch.randn(num_points, len(weights), generator=generator)
        targets = inputs @ torch.tensor([*weights], dtype=torch.float32)[:, None] + bias
        super().__init__(inputs, targets + noise * torch.randn(num_points, 1, generator=generator))
        self.notes = [f"the true weights: {', '.join(f'{weight:g}' for weight in weights)}; bias: {bias:g}"]
