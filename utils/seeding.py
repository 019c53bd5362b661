"""Randomness as a function of integers: no generator state is ever stored, it is computed again."""

import random
from hashlib import blake2b

import numpy
import torch
from torch.utils.data import get_worker_info

HAS_MPS = torch.backends.mps.is_available()


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed for, say, (seed, "dropout", step): the same in every process, Python version and machine.

    TypeError for anything but int and str: True and a NumPy 1 would give other seeds than 1.
    """
    for part in parts:
        if type(part) is not int and type(part) is not str:
            raise TypeError(f"a seed is derived from int and str, not from {type(part).__name__} {part!r}")
    # ascii() keeps 1 and "1" apart, and ("ab", "c") and ("a", "bc"). hash() differs between processes.
    return int.from_bytes(blake2b(ascii(parts).encode(), digest_size=8).digest(), "little") >> 1


def seeded_generator(*parts: int | str) -> torch.Generator:
    """A generator of its own, so that drawing from it leaves the global ones alone."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def seed_everything(*parts: int | str) -> None:
    """Seeds whatever user code may draw from: random, NumPy, torch on the CPU and on the devices in use.

    CUDA is in use once it is initialised, so move something there before the first call that matters.
    """
    seed = derive_seed(*parts)
    random.seed(seed)
    numpy.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed does the same in 90 us instead of 1
    if torch.cuda.is_initialized():  # False in a forked loader worker, where CUDA must not be touched
        for generator in torch.cuda.default_generators:
            generator.manual_seed(seed)
    if HAS_MPS and get_worker_info() is None:
        torch.mps.manual_seed(seed)
