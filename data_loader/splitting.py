"""Which part a sample belongs to: a function of its name or content and of a seed, never of its place in a list.

What comes to the data or goes from them moves no other sample. The price: a share is kept on average, not exactly; of
1,000 samples, 0.1 are 100, give or take 10. A count is exact, and then one that comes may push out another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any
from zlib import crc32

import numpy
import torch
from pydantic import Field
from torch import Tensor

from config.schema import Says
from data_loader.samples import has_way
from utils.seeding import derive_seed

SPLITS = ("train", "valid", "test")

# How much of the samples a part takes.
Amount = Annotated[
    Annotated[float, Field(ge=0, lt=1)] | Annotated[int, Field(ge=0)],
    Says("a fraction between 0 and 1, or a whole number of samples"),
]


def divide(
    names: Iterable[str | bytes], valid: float | int, test: float | int, seed: int, classes: Tensor | None = None
) -> dict[str, Tensor]:
    """The indices, int64 in rising order, of each of SPLITS. test: of all samples; valid: of those that are left.

    names: what each sample is known by: its name, its content as bytes, or its group, whose samples stay together.
    classes: class numbers (N,); each class then is in each part, where it has samples enough.
    """
    keys = keys_of(names)
    is_test = held_out(keys, test, "test", seed, classes=classes)
    rest = (~is_test).nonzero().squeeze(1)
    is_valid = held_out(keys[rest.numpy()], valid, "valid", seed, classes=None if classes is None else classes[rest])
    return {"train": rest[~is_valid], "valid": rest[is_valid], "test": is_test.nonzero().squeeze(1)}


def keys_of(names: Iterable[str | bytes]) -> numpy.ndarray:
    """A number for each name, the same on every machine: 0.3 s for a million. Numbers, uint64 (N,), stay as they are."""
    if isinstance(names, numpy.ndarray) and names.dtype == numpy.uint64 and names.ndim == 1:
        return names
    numbers = (crc32(name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name) for name in names)
    return numpy.fromiter(numbers, numpy.uint64)


def held_out(keys: numpy.ndarray, amount: float | int, *seed: int | str, classes: Tensor | None = None) -> Tensor:
    """Which samples a part takes, bool (N,). amount: a share that leaves no class out and takes none whole, or a count."""
    places = _places(keys, derive_seed("split", *seed))
    taken = torch.zeros(len(places), dtype=torch.bool)
    if isinstance(amount, int):
        taken[places.argsort()[:amount]] = True
        return taken
    if not amount:
        return taken
    taken = places < amount
    classes = torch.zeros(len(places), dtype=torch.int64) if classes is None else classes.long()
    all_counts = torch.bincount(classes)
    counts = torch.bincount(classes[taken], minlength=len(all_counts))
    for number in ((all_counts > 1) & ((counts == 0) | (counts == all_counts))).nonzero().flatten():
        members = (classes == number).nonzero().squeeze(1)
        is_empty = counts[number] == 0
        nearest = places[members].min() if is_empty else places[members].max()
        taken[members[places[members] == nearest]] = is_empty
    return taken


def _places(keys: numpy.ndarray, seed: int) -> Tensor:
    """A place in [0, 1) for each key, float64 (N,): the finaliser of splitmix64."""
    mixed = keys + numpy.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed = (mixed ^ (mixed >> numpy.uint64(shift))) * numpy.uint64(factor)
    return torch.from_numpy((mixed >> numpy.uint64(11)) / 2.0**53)


def names_of(dataset: Any) -> Iterable[str | bytes]:
    """What the samples of a dataset are known by, wherever they lie.

    Its `groups` or `names` where it has them, one text a sample; the content of data in memory; else their places.
    """
    for attribute in ("groups", "names"):
        if (names := getattr(dataset, attribute, None)) is not None:
            return names
    if has_way(dataset, "as_tensors") and (tensors := dataset.as_tensors()) is not None:
        return tensors[0].reshape(len(dataset), -1).contiguous().numpy()
    return map(str, range(len(dataset)))
