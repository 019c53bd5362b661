"""Made-up data of any shape and size."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.data import Dataset

from base import DATASETS, Count
from data_loader.in_memory import class_targets
from utils.errors import UserError
from utils.seeding import derive_seed, seeded_generator


@DATASETS.register
class Synthetic(Dataset):
    """Samples computed from their index: ten million cost no more memory than ten, and a model can learn them.

    A sample is the sum of two of a bank's random pictures (N(0, 1) in each element), chosen by a hash of its index.
    num_classes: targets are classes, int64 (N,); each class adds a pattern of its own. null: targets are linear in the
    inputs plus a little noise, float32 (N, num_outputs).
    dtype: float32, or uint8 (mean 128, standard deviation 40).
    """

    draws_random_numbers = False

    def __init__(
        self,
        split: str,
        shape: tuple[Count, ...] = (3, 32, 32),
        size: Count = 1000,
        valid_size: int = 200,
        test_size: int = 200,
        num_classes: Count | None = 10,
        num_outputs: Count = 1,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ):
        if dtype not in (torch.float32, torch.uint8):
            raise UserError(f"dataset.args.dtype: found {dtype}; expected float32 or uint8")
        first = {"train": 0, "valid": size, "test": size + valid_size}
        self.first, self.size = first[split], {"train": size, "valid": valid_size, "test": test_size}[split]
        self.shape, self.dtype, self.num_classes = tuple(shape), dtype, num_classes
        self.classes = None if num_classes is None else [str(number) for number in range(num_classes)]
        self.salt = derive_seed("synthetic", seed)

        num_elements = math.prod(self.shape)
        bank_size = min(256, max(16, 2**22 // num_elements))  # at most 4 million elements, 16 MB, where that is enough
        generator = seeded_generator("synthetic", seed)
        self.bank = torch.randn(bank_size, num_elements, generator=generator)
        self.patterns = torch.randn(num_classes or 0, num_elements, generator=generator)
        self.weights = torch.randn(num_elements, num_outputs, generator=generator) / math.sqrt(num_elements)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.__getitems__(torch.tensor([index]))
        return inputs[0], targets[0]

    def __getitems__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        hashes = self._hashes(indices)
        inputs = self.bank.index_select(0, hashes % len(self.bank))
        inputs = inputs.add_(self.bank.index_select(0, hashes // 2**16 % len(self.bank))).mul_(math.sqrt(0.5))
        if self.num_classes is None:
            noise = (hashes // 2**32 % 1024).unsqueeze(1) / 1024 - 0.5
            targets = inputs @ self.weights + 0.1 * noise
        else:
            targets = self._classes(hashes)
            inputs = inputs.add_(self.patterns.index_select(0, targets), alpha=0.5)
        if self.dtype is torch.uint8:
            inputs = inputs.mul_(40).add_(128).clamp_(0, 255).to(torch.uint8)
        return inputs.view(-1, *self.shape), targets

    @property
    def targets(self) -> Tensor:
        """The targets of all samples, (N,) or (N, num_outputs)."""
        parts = torch.arange(self.size).split(4096)
        if self.num_classes is None:
            return torch.cat([self.__getitems__(part)[1] for part in parts])
        return torch.cat([self._classes(self._hashes(part)) for part in parts])

    def _classes(self, hashes: Tensor) -> Tensor:
        return class_targets(hashes // 2**40 % self.num_classes)

    def _hashes(self, indices: Tensor) -> Tensor:
        """A 62-bit hash (>= 0) of each index: the finaliser of splitmix64, whose products wrap around in int64."""
        hashes = (indices + self.first) * 0x1E3779B97F4A7C15 + self.salt
        for shift, factor in ((30, 0x3F58476D1CE4E5B9), (27, 0x14D049BB133111EB), (31, 1)):
            hashes = (hashes ^ (hashes >> shift)) * factor
        return hashes & (2**62 - 1)
