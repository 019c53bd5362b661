"""Pictures and their classes. Replace what is made up here by your own."""

import torch
from torch import Tensor

from base import DATASETS, Count
from data_loader.in_memory import class_targets
from data_loader.pictures.in_memory import PicturesInMemory
from utils.seeding import seeded_generator


@DATASETS.register
class MyPictures(PicturesInMemory):
    """Grey pictures uint8 (N, 1, 16, 16) of stripes, which lie or stand; classes int64 (N,).

    All are in memory and are taken a batch at a time; predict.py takes other pictures of that `shape`. For pictures in
    folders use ImageFolder as it is, or derive from it; for what must be read one by one, derive from torch's Dataset
    and write `__getitem__` (docs/data.md).
    """

    shape = (1, 16, 16)

    def __init__(self, split: str, num_samples: Count = 200):
        size = self.shape[-1]
        generator = seeded_generator("my pictures", split)  # training and test part have nothing in common
        standing = torch.arange(num_samples) % 2
        shifts = torch.randint(size, (num_samples, 1, 1), generator=generator)
        stripes = ((torch.arange(size) + shifts) % 6 < 3).float().expand(num_samples, size, size)  # (N, size, size)
        pictures = torch.where(standing.view(-1, 1, 1).bool(), stripes, stripes.transpose(1, 2))
        noise = 0.6 * torch.randn(num_samples, size, size, generator=generator)
        super().__init__(_as_bytes(pictures + noise), class_targets(standing), classes=["lying", "standing"])


def _as_bytes(pictures: Tensor) -> Tensor:
    """(N, H, W) from 0 to 1 as uint8 (N, 1, H, W)."""
    return pictures.clamp(0, 1).mul(255).to(torch.uint8).unsqueeze(1)
