"""Divide samples into parts by a seed."""

from __future__ import annotations

import torch
from torch import Tensor

from utils.errors import UserError
from utils.seeding import seeded_generator

SPLITS = ("train", "valid", "test")


def held_out(num_samples: int, num_valid: int, seed: int) -> tuple[Tensor, Tensor]:
    """Divide a training set by a seeded permutation: the indices (int64, rising) of (training, validation) samples."""
    chosen = torch.randperm(num_samples, generator=seeded_generator(seed, "validation_split"))[:num_valid]
    is_valid = torch.zeros(num_samples, dtype=torch.bool)
    is_valid[chosen] = True
    return (~is_valid).nonzero().squeeze(1), is_valid.nonzero().squeeze(1)


def split_by_seed(
    num_samples: int, classes: Tensor | None, valid_fraction: float, test_fraction: float, seed: int
) -> dict[str, Tensor]:
    """The indices of each of SPLITS in rising order; no sample is in two of them.

    classes: class numbers (N,); each part then holds each class in proportion, to within one sample. None: at random.
    """
    for name, fraction in (("valid_fraction", valid_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise UserError(f"dataset.args.{name}: found {fraction}; expected 0 <= {name} < 1")
    if valid_fraction + test_fraction >= 1:
        raise UserError(
            f"dataset.args: valid_fraction {valid_fraction} and test_fraction {test_fraction} leave nothing to train on"
        )
    order = torch.randperm(num_samples, generator=seeded_generator("split", seed))
    if classes is not None:
        order = order[classes[order].argsort(stable=True)]  # by class, in random order within each
    rest, test = _every_nth(order, test_fraction)
    train, valid = _every_nth(rest, valid_fraction / (1 - test_fraction))
    return {name: part.sort().values for name, part in zip(SPLITS, (train, valid, test), strict=True)}


def _every_nth(order: Tensor, fraction: float) -> tuple[Tensor, Tensor]:
    """Divide evenly along the order, so that classes lying together divide evenly too: (the rest, a fraction)."""
    # In float64, with a grain against 0.1 * 30 = 3.0000000000000004.
    steps = (torch.arange(len(order) + 1, dtype=torch.float64) * fraction + 0.5 - 1e-9).floor()
    is_taken = steps[1:] > steps[:-1]
    return order[~is_taken], order[is_taken]
