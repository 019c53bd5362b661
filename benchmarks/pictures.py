"""Made-up pictures: for this project in memory, for the others in torchvision's own datasets."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import Dataset

from base import DATASETS
from base.batch import uint8_to_float
from data_loader.in_memory import InMemoryDataset


def made_up(num_pictures: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """uint8 pictures (N, C, H, W) and classes (N,)."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (num_pictures, *shape), dtype=torch.uint8, generator=generator)
    return pictures, torch.randint(10, (num_pictures,), generator=generator)


@DATASETS.register
class BenchmarkPictures(InMemoryDataset):
    """Pictures of noise."""

    def __init__(self, split: str, shape: tuple[int, ...], size: int):
        super().__init__(*made_up(size, tuple(shape)), [str(number) for number in range(10)])


def torchvision_dataset(pictures: Tensor, targets: Tensor, transform: Callable) -> Dataset:
    """torchvision's MNIST (grey) or CIFAR10 with these pictures, as it is once it has read its files."""
    from torchvision import datasets

    is_grey = pictures.shape[1] == 1
    dataset = object.__new__(datasets.MNIST if is_grey else datasets.CIFAR10)
    dataset.data = pictures.squeeze(1) if is_grey else pictures.permute(0, 2, 3, 1).numpy()
    dataset.targets = targets if is_grey else targets.tolist()
    dataset.transform, dataset.target_transform = transform, None
    return dataset


def ready_batches(
    pictures: Tensor, targets: Tensor, batch_size: int, memory_format: torch.memory_format = torch.contiguous_format
) -> list[tuple[Tensor, Tensor]]:
    """Batches of normalised floats, made before the clock starts."""
    normalised = ((uint8_to_float(pictures) - 0.5) / 0.25).contiguous(memory_format=memory_format)
    return list(zip(normalised.split(batch_size), targets.split(batch_size), strict=True))
