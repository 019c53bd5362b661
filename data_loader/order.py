"""The order in which samples are read: a function of seed and epoch, never remembered."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from data_loader.splitting import seeded_generator

CUT_AT_ONCE = 64  # batches: each alone, between two steps, would take ten times as long


class BatchOrder:
    """The sampler of torch's DataLoader: yields (epoch, indices of a batch), beginning at any batch of any epoch.

    members: int64 (num_samples,), the indices that belong to this part of the dataset; None: all of them.
    Batch i of an epoch takes permutation[i * batch_size : (i + 1) * batch_size], or that slice of the natural order.
    """

    def __init__(
        self, num_samples: int, batch_size: int, *, seed: int, shuffle: bool, drop_last: bool, members: Tensor | None
    ):
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.members = members
        self.epoch = 0
        self.first = 0

    def __len__(self) -> int:
        """Batches an epoch."""
        whole, left = divmod(self.num_samples, self.batch_size)
        return whole + (left > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        epoch, first = self.epoch, self.first
        indices = self.indices(epoch)
        for batch in range(first, len(self), CUT_AT_ONCE):
            start, stop = (self.batch_size * place for place in (batch, min(batch + CUT_AT_ONCE, len(self))))
            # Copies: a slice would take the indices of the whole epoch along to a worker.
            yield from [(epoch, cut.clone()) for cut in indices[start:stop].split(self.batch_size)]

    def indices(self, epoch: int) -> Tensor:
        """Those of an epoch in their order, int64 (num_samples,): 0.3 s for ten million samples."""
        if not self.shuffle:
            return torch.arange(self.num_samples) if self.members is None else self.members
        permutation = torch.randperm(self.num_samples, generator=seeded_generator(self.seed, "order", epoch))
        return permutation if self.members is None else self.members.index_select(0, permutation)


def held_out(num_samples: int, num_valid: int, seed: int) -> tuple[Tensor, Tensor]:
    """Divide a training set by a seeded permutation: the indices (int64, rising) of (training, validation) samples."""
    chosen = torch.randperm(num_samples, generator=seeded_generator(seed, "validation_split"))[:num_valid]
    is_valid = torch.zeros(num_samples, dtype=torch.bool)
    is_valid[chosen] = True
    return (~is_valid).nonzero().squeeze(1), is_valid.nonzero().squeeze(1)
