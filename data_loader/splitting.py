"""Which part a sample belongs to: a function of its name or content and of a seed, never of its place in a list.

Each name has a place in [0, 1), as good as drawn by lot; a part takes those below a limit. For a share of 0.1 that is
0.1: of 1,000 samples of a class the part gets 100, give or take 10, and whatever comes or goes moves no other sample.
Where chance would leave a class out, or be further off than `_slack` allows, the limit is the roundest number at which
it is not: then one that comes or goes may move others of its class. That is rare in classes of 1,000 and more, and
happens about one time in four in those of 100, of which the part gets 10 give or take 2. Targets that are numbers are
cut into fifths, which are treated like classes: one that comes or goes moves the cuts, but hardly ever a limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated
from zlib import crc32

import numpy
import torch
from pydantic import Field
from torch import Tensor

from config.schema import Says
from data_loader.folds import Fold
from utils.blocks import in_blocks, num_copies
from utils.seeding import derive_seed

SPLITS = ("train", "valid", "test")
Share = float | int | numpy.ndarray | Fold  # of the samples, a number of them, which they are: bool (N,), or a fold
MOST_STRATA = 5  # of targets that are numbers
FEWEST_OF_STRATUM = 4  # that a part takes of each: of fewer, chance would often leave none

# How much of the samples a part takes.
Amount = Annotated[
    Annotated[float, Field(ge=0, lt=1)] | Annotated[int, Field(ge=0)],
    Says("a fraction between 0 and 1, or a whole number of samples"),
]


def divide(
    names: Iterable[str | bytes],
    valid: float | int,
    test: Share,
    seed: int,
    targets: Tensor | None = None,
    groups: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """The indices, int64 in rising order, of each of SPLITS. test: of all samples; valid: of those that are left.

    names: what each sample is known by: its name, or its content as bytes. groups: of each, instead: equal ones stay
    together. targets: class numbers (N,), of each of which parts take their share; or floats (N,), of each fifth.
    """
    parts = members(names, valid, test, seed, targets, groups)
    return {split: torch.from_numpy(is_member.nonzero()[0]) for split, is_member in parts.items()}


def members(
    names: Iterable[str | bytes],
    valid: float | int,
    test: Share,
    seed: int,
    targets: Tensor | None = None,
    groups: Sequence[str] | None = None,
) -> dict[str, numpy.ndarray]:
    """Which samples are in each of SPLITS, bool (N,): what `divide` says, in less memory."""
    keys = keys_of(names if groups is None else groups)
    if isinstance(test, Fold):
        test = test.members(len(keys), targets, groups)
    is_test = test if isinstance(test, numpy.ndarray) else held_out(keys, test, "test", seed, targets=targets).numpy()
    is_valid = held_out(keys, valid, "valid", seed, targets=targets, among=torch.from_numpy(~is_test)).numpy()
    return {"train": ~(is_test | is_valid), "valid": is_valid, "test": is_test}


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
    targets: Tensor | None = None,
    among: Tensor | None = None,
) -> Tensor:
    """Which samples a part takes, bool (N,). amount: a share of each stratum, or a count. targets: as for `divide`.

    among: bool (N,), of which samples; None: of all. A count is kept exactly but where it would divide samples of one
    key: then it is as near as whole keys get.
    """
    chosen = numpy.ones(len(keys), bool) if among is None else among.numpy()
    taken = numpy.zeros_like(chosen)
    if not amount or not chosen.any():
        return torch.from_numpy(taken)
    share, is_count = amount, isinstance(amount, int)
    if is_count:
        share = min(1.0, amount / numpy.count_nonzero(chosen))
        share = _roundest(0.98 * share, share)  # round: one sample more moves no limit
    strata = chosen if targets is None else _strata(keys, targets.numpy(), chosen, share)
    by_limit = numpy.zeros(len(keys) if is_count else 0)  # places, in parts of the limit of their stratum
    for stratum in _members(strata):
        places = _places(keys[stratum], derive_seed("split", *seed))
        limit = _limit(places, share)
        taken[stratum] = places < limit
        if is_count:
            by_limit[stratum] = places / max(limit, 1e-300)  # 0: a class of one sample, the last to be taken
    if is_count:
        taken = chosen & (by_limit < _limit_of_count(by_limit[chosen], amount))
    return torch.from_numpy(taken)


def _strata(keys: numpy.ndarray, targets: numpy.ndarray, chosen: numpy.ndarray, share: float) -> numpy.ndarray:
    """The number of each sample's stratum, (N,); 0 for those that are not chosen, bool (N,).

    Samples of one key stay together: they are in the stratum of the middle one of their targets. Strata of groups, of
    which a part would take less than one, are one stratum.
    """
    if not num_copies(keys):
        least = _least(targets[chosen], share)
        strata = numpy.empty(len(keys), numpy.min_scalar_type(len(least)))
        for some in in_blocks(len(keys)):
            strata[some] = least.searchsorted(numpy.nan_to_num(targets[some]), side="right") * chosen[some]
        return strata
    targets = numpy.nan_to_num(targets[chosen], copy=False)
    order = numpy.lexsort((targets, keys[chosen]))
    sizes = numpy.unique(keys[chosen], return_counts=True)[1]
    middle = targets[order[sizes.cumsum() - 1 - sizes // 2]]
    numbers = _least(middle.copy(), share).searchsorted(middle, side="right")
    num_groups, num_samples = numpy.bincount(numbers), numpy.bincount(numbers, sizes)
    is_too_small = (num_groups < num_samples) & (share * num_groups < 1)
    numbers[is_too_small[numbers]] = len(num_groups)
    strata = numpy.zeros(len(keys), numpy.min_scalar_type(len(num_groups)))
    strata[chosen.nonzero()[0][order]] = numbers.repeat(sizes)
    return strata


def _least(targets: numpy.ndarray, share: float) -> numpy.ndarray:
    """The least target of each stratum, which is a class or, of floats, a fifth of the targets; these get sorted."""
    rising = numpy.nan_to_num(targets, copy=False)
    rising.sort()
    is_next = rising[1:] != rising[:-1]
    if rising.dtype.kind == "f" and numpy.count_nonzero(is_next) >= MOST_STRATA:
        return _cuts(rising, min(MOST_STRATA, int(share * len(rising) / FEWEST_OF_STRATUM)))
    return rising[numpy.append(True, is_next)]


def _members(strata: numpy.ndarray) -> Iterable[numpy.ndarray]:
    """The samples of stratum 1, 2, ...: bool (N,), which takes little memory; where there are many strata, indices."""
    if (num_strata := int(strata.max())) <= 10:
        return (strata == number for number in range(1, num_strata + 1))
    return numpy.split(strata.argsort(kind="stable"), numpy.bincount(strata).cumsum()[:-1])[1:]


def _cuts(targets: numpy.ndarray, num_strata: int) -> numpy.ndarray:
    """Where strata of about the same size of rising targets begin: at round numbers, which one target more keeps."""
    quarter = len(targets) / (4 * max(1, num_strata))
    around = [(int((4 * k - 1) * quarter), int((4 * k + 1) * quarter)) for k in range(1, num_strata)]
    cuts = [_roundest(targets[low].item(), targets[high].item()) for low, high in around]
    return numpy.array([-math.inf, *cuts], targets.dtype)


def _roundest(low: float, high: float) -> float:
    """The multiple of the greatest power of two that is above `low` and not above `high`; `high` where they are one."""
    exponent = math.frexp(max(abs(low), abs(high)))[1] - 1
    multiples = (math.ldexp(math.floor(math.ldexp(high, -bits)), bits) for bits in range(exponent, exponent - 54, -1))
    return next((multiple for multiple in multiples if multiple > low), high)


def _limit(places: numpy.ndarray, share: float) -> float:
    """Below which of the places (n,) of a stratum a part takes its share: some, unless all are one; not all."""
    quota = share * len(places)
    slack = _slack(quota, len(places), share)
    least, most = max(1, math.ceil(quota - slack)), min(len(places) - 1, math.floor(quota + slack))
    if least > most or (first := places.min()) == places.max():
        return 0.0
    around = [least - 1, most]  # the last that must be taken, the first that must not
    low, high = numpy.partition(places, around)[around].tolist()
    if low == high:  # of a group, whose samples share a place
        return math.nextafter(low, 1) if low == first else low
    if low < share <= high:
        return share
    return _roundest(low, high)


def _limit_of_count(places: numpy.ndarray, count: int) -> float:
    """Below which of the places (n,) are as many as the count, or near it: no equal ones are divided."""
    rising = numpy.sort(places)
    ends = (rising[1:] > rising[:-1]).nonzero()[0] + 1
    if 0 < count < len(rising):
        count = ends[abs(ends - count).argmin()] if len(ends) else 0
    return rising[count] if count < len(rising) else math.inf


def _slack(quota: float, num_samples: int, share: float) -> float:
    """How many samples of a class a part may be off: two deviations of chance, fewer of a small class, two at least."""
    return max(2.0, 2 * math.sqrt(quota * (1 - share)) * min(1.0, num_samples / 1000))


def _places(keys: numpy.ndarray, seed: int) -> numpy.ndarray:
    """A place in [0, 1) for each key, float64 (N,): the finaliser of splitmix64."""
    places = numpy.empty(len(keys))
    for some in in_blocks(len(keys)):
        mixed = keys[some] + numpy.uint64(seed)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
            mixed = (mixed ^ (mixed >> numpy.uint64(shift))) * numpy.uint64(factor)
        places[some] = (mixed >> numpy.uint64(11)) / 2.0**53
    return places
