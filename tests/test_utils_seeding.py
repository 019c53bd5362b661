"""Randomness is a function of integers: the same in every process, another for every part."""

import random

import numpy
import pytest
import torch

from tests.gpu import DEVICE
from utils.seeding import derive_seed, seed_everything


def draw() -> tuple:
    return random.random(), random.gauss(0, 1), *numpy.random.rand(2), numpy.random.randn(), *torch.rand(2).tolist()


def test_seed_is_frozen():
    """Resuming old runs depends on it; what Python's `hash` gives is another in each process."""
    assert derive_seed(42, "dropout", 7) == 6567166247796980725


def test_parts_do_not_run_together():
    parts = [(1,), ("1",), (1, 2), (12,), ("1", "2"), ("12",), (), ("",), (-1,), (2**80,), ("ab", "c"), ("a", "bc")]
    assert len({derive_seed(*each) for each in parts}) == len(parts)
    assert all(0 <= derive_seed(*each) < 2**63 for each in parts)


@pytest.mark.parametrize("part", [True, 1.0, None, numpy.int64(1), torch.tensor(1)])
def test_other_types_are_refused(part):
    with pytest.raises(TypeError, match="int and str"):
        derive_seed(1, part)


def test_seeding_again_gives_the_same_draws():
    seed_everything(1, 2)
    first = draw()
    draw()
    seed_everything(1, 2)
    assert draw() == first
    seed_everything(1, 3)
    assert not set(draw()) & set(first)


@pytest.mark.cuda
def test_cuda_generators_are_seeded():
    torch.zeros(1, device=DEVICE)
    seed_everything(1)
    first = torch.rand(3, device=DEVICE)
    seed_everything(1)
    assert torch.equal(torch.rand(3, device=DEVICE), first)
