"""Which part a sample belongs to: a function of its name or content and of a seed, never of its place in a list.

Each name has a place in [0, 1), as good as drawn by lot; a part takes those below a limit. For a share of 0.1 that is
0.1: of 1,000 samples of a class the part gets 100, give or take 10, and whatever comes or goes moves no other sample.
Where chance would leave a class out, or be further off than `_slack` allows, the limit is the roundest number at which
it is not: then one that comes or goes may move others of its class. That is rare in classes of 1,000 and more, and
happens about one time in four in those of 100, of which the part gets 10 give or take 2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any
from zlib import crc32

import numpy
import torch
from pydantic import Field
from torch import Tensor

from config.schema import Says
from data_loader.samples import check_one_each, has_way
from utils.blocks import in_blocks
from utils.errors import UserError
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
    classes: class numbers (N,), of each of which the parts take their share.
    """
    keys = keys_of(names)
    is_test = held_out(keys, test, "test", seed, classes=classes)
    is_valid = held_out(keys, valid, "valid", seed, classes=classes, among=~is_test)
    parts = {"train": ~(is_test | is_valid), "valid": is_valid, "test": is_test}
    return {split: is_member.nonzero().squeeze(1) for split, is_member in parts.items()}


def keys_of(names: Iterable[str | bytes]) -> numpy.ndarray:
    """A number for each name, the same on every machine: 0.3 s for a million. Numbers, uint64 (N,), stay as is."""
    if isinstance(names, numpy.ndarray) and names.dtype == numpy.uint64 and names.ndim == 1:
        return names
    numbers = (crc32(name.encode("utf-8", "surrogateescape") if isinstance(name, str) else name) for name in names)
    return numpy.fromiter(numbers, numpy.uint64)


def held_out(
    keys: numpy.ndarray,
    amount: float | int,
    *seed: int | str,
    classes: Tensor | None = None,
    among: Tensor | None = None,
) -> Tensor:
    """Which samples a part takes, bool (N,). amount: a share of each class, or a count; among: bool (N,), of which.

    A count is kept exactly but where it would divide samples of one key: then it is as near as whole keys get.
    """
    seed = derive_seed("split", *seed)
    taken = numpy.ones(len(keys), bool) if among is None else among.numpy().copy()
    if classes is None or isinstance(amount, int):
        limit = _limit(_rising_places(keys, seed, taken), amount)
        taken &= _places(keys, seed) < limit  # once more: to keep both would take memory beside a large table
        return torch.from_numpy(taken)
    places = _places(keys, seed)
    members = taken.nonzero()[0]
    members = members[classes.numpy()[members].argsort(kind="stable")]
    for of_class in numpy.split(members, numpy.bincount(classes.numpy()[members]).cumsum()):
        taken[of_class] = places[of_class] < _limit(numpy.sort(places[of_class]), amount)
    return torch.from_numpy(taken)


def _limit(places: numpy.ndarray, amount: float | int) -> float:
    """Below which of the rising places (n,) a part takes a count, or its share of a class.

    A share is some of the class, unless n is 1, not all.
    """
    if isinstance(amount, int):
        count = _whole_keys(places, amount)
        return places[count].item() if count < len(places) else 1.0
    quota = amount * len(places)
    slack = _slack(quota, len(places), amount)
    least, most = max(1, math.ceil(quota - slack)), min(len(places) - 1, math.floor(quota + slack))
    if least > most or not amount:
        return 0.0
    low, high = places[least - 1].item(), places[most].item()  # the last that must be taken, the first that must not
    if low == high:  # of a group, whose samples share a place
        return math.nextafter(low, 1) if low == places[0] else low
    if low < amount <= high:
        return amount
    roundest = (math.floor(high * 2**bits) / 2**bits for bits in range(64))
    return next(limit for limit in roundest if limit > low)


def _whole_keys(places: numpy.ndarray, count: int) -> int:
    """How many of the rising places (N,) to take for a count near it that divides no equal ones."""
    if not 0 < count < len(places):
        return count
    ends = (places[1:] > places[:-1]).nonzero()[0] + 1
    return int(ends[abs(ends - count).argmin()]) if len(ends) else 0


def _slack(quota: float, num_samples: int, share: float) -> float:
    """How many samples of a class a part may be off: two deviations of chance, fewer of a small class, two at least."""
    return max(2.0, 2 * math.sqrt(quota * (1 - share)) * min(1.0, num_samples / 1000))


def _rising_places(keys: numpy.ndarray, seed: int, chosen: numpy.ndarray) -> numpy.ndarray:
    """The places of the chosen keys, chosen: bool (N,), in order."""
    places = _places(keys, seed)
    places[~chosen] = 1.0  # above all others
    places.sort()
    return places[: numpy.count_nonzero(chosen)]


def _places(keys: numpy.ndarray, seed: int) -> numpy.ndarray:
    """A place in [0, 1) for each key, float64 (N,): the finaliser of splitmix64."""
    places = numpy.empty(len(keys))
    for some in in_blocks(len(keys)):
        mixed = keys[some] + numpy.uint64(seed)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
            mixed = (mixed ^ (mixed >> numpy.uint64(shift))) * numpy.uint64(factor)
        places[some] = (mixed >> numpy.uint64(11)) / 2.0**53
    return places


def keys_of_samples(dataset: Any) -> numpy.ndarray:
    """The keys of what the samples of a dataset are known by, wherever they lie.

    Its `groups` or `names` where it has them, one text a sample; the content of data in memory; else their places.
    """
    for attribute in ("groups", "names"):
        if (names := getattr(dataset, attribute, None)) is not None:
            check_one_each(dataset, attribute, names)
            if others := [name for name in names if not isinstance(name, (str, bytes))][:1]:
                told = f"{type(dataset).__name__} has {attribute} such as {others[0]!r}"
                raise UserError(f"dataset: {told}; expected one text a sample: [str(name) for name in ...]")
            return keys_of(names)
    if has_way(dataset, "as_tensors") and (tensors := dataset.as_tensors()) is not None:
        return keys_of(tensors[0].reshape(len(dataset), -1).contiguous().numpy())
    return numpy.arange(len(dataset), dtype=numpy.uint64)
