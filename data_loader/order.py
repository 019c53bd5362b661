"""The order of an epoch, and which of its samples make each batch.

An own order is a registered function that returns the places of the samples in their part, int64 (num_samples,), each
in 0 .. num_samples - 1; it may leave some out and repeat others, with other random numbers each time. It is given what
it asks for by these names: `seed`, `epoch`, `num_samples`, `batch_size`; and of the samples of the part `lengths`,
`weights` and `targets`, the dataset's attributes of these names, as tensors (num_samples, ...). It may depend on
nothing else: a resumed run computes it anew. What else it takes can be set under `args`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from base import ORDERS, Count
from base.conversion import convert
from base.signature import parameters_of
from config.schema import ComponentConfig
from data_loader.samples import check_one_each
from utils.distributed import num_ranks, rank
from utils.errors import UserError
from utils.seeding import seeded_generator

WANTED_OF_DATASET = ("lengths", "weights", "targets")


@ORDERS.register
def shuffled(seed: int, epoch: int, num_samples: int) -> Tensor:
    """Every sample once, in an order of its own in each epoch."""
    return torch.randperm(num_samples, generator=seeded_generator(seed, "order", epoch))


@ORDERS.register
def sequential(num_samples: int) -> Tensor:
    """Every sample once, as they lie."""
    return torch.arange(num_samples)


@ORDERS.register
def bucketed(
    seed: int, epoch: int, num_samples: int, batch_size: int, lengths: Tensor, batches_a_bucket: Count = 50
) -> Tensor:
    """Every sample once, batches of like length in a random order: less is padded.

    The shuffled samples are cut into buckets, each is sorted by length, and its batches are shuffled.
    """
    generator = seeded_generator(seed, "order", epoch)
    order = torch.randperm(num_samples, generator=generator)
    num_batches = num_samples // batch_size
    full, rest = order[: num_batches * batch_size], order[num_batches * batch_size :]
    buckets = [bucket[lengths[bucket].argsort(stable=True)] for bucket in full.split(batch_size * batches_a_bucket)]
    batches = torch.cat([*buckets, order[:0]]).view(num_batches, batch_size)
    return torch.cat([batches[torch.randperm(num_batches, generator=generator)].flatten(), rest])


@ORDERS.register
def weighted(seed: int, epoch: int, num_samples: int, weights: Tensor) -> Tensor:
    """Samples drawn with replacement, each as often as its weight says (the dataset's attribute `weights`)."""
    return _drawn(weights, seed, epoch, num_samples)


@ORDERS.register
def balanced(seed: int, epoch: int, num_samples: int, targets: Tensor) -> Tensor:
    """Samples drawn with replacement, each class equally often. targets: classes (N,)."""
    if targets.is_floating_point() or targets.ndim != 1:
        raise UserError("data_loader.order: balanced is for classes, but the targets are no whole numbers (N,)")
    _, classes, counts = targets.unique(return_inverse=True, return_counts=True)
    return _drawn(1 / counts[classes], seed, epoch, num_samples)


def _drawn(weights: Tensor, seed: int, epoch: int, num_samples: int) -> Tensor:
    ends = weights.double().cumsum(0)
    if not (weights >= 0).all() or not 0 < ends[-1] < float("inf"):
        raise UserError("data_loader.order: the weights must be numbers >= 0, and not all of them 0")
    places = torch.rand(num_samples, generator=seeded_generator(seed, "order", epoch), dtype=torch.float64)
    drawn = torch.searchsorted(ends, places * ends[-1], right=True)  # torch.multinomial takes 16 million at most
    return drawn.clamp_(max=int(weights.nonzero()[-1]))


class Order:
    """An order of a part as a function of the epoch. UserError where it is none. function: gets args, and the epoch."""

    def __init__(self, name: str, function: Callable[..., Tensor], args: dict[str, Any], num_samples: int):
        self.name = name
        self.function = function
        self.args = args
        self.num_samples = num_samples
        self.asks_for_epoch = "epoch" in parameters_of(function).by_name

    def __call__(self, epoch: int) -> Tensor:
        order = self.function(**self.args, **({"epoch": epoch} if self.asks_for_epoch else {}))
        return _checked(order, self.num_samples, self.name)

    def earlier_draws(self, order: Tensor) -> numpy.ndarray | None:
        """How often each sample in an order was drawn before, int64 (N,); None where none is drawn twice."""
        if self.function in (shuffled, sequential, bucketed):
            return None
        by_sample = order.argsort(stable=True)
        counts = order[by_sample].unique_consecutive(return_counts=True)[1]
        firsts = (counts.cumsum(0) - counts).repeat_interleave(counts)
        return torch.empty_like(order).scatter_(0, by_sample, torch.arange(len(order)) - firsts).numpy()


def build_order(config: ComponentConfig, dataset: Any, members: Tensor | None, **known: int) -> Order:
    """The order of a part as a function of the epoch. known: seed, num_samples, batch_size.

    UserError where the dataset lacks what the order asks for.
    """
    function, parameters = ORDERS.find(config.type), parameters_of(ORDERS.find(config.type))
    args: dict[str, Any] = {name: value for name, value in known.items() if name in parameters.by_name}
    for name in WANTED_OF_DATASET:
        if name in parameters.by_name:
            args[name] = _of_samples(dataset, name, members, config.type)
    args |= {name: convert(value, parameters.annotation(name)) for name, value in config.args.items()}
    order = Order(config.type, function, args, known["num_samples"])
    if config.type not in ("shuffled", "sequential"):
        order(0)  # what is wrong with it is told before there is a run folder
    return order


def _of_samples(dataset: Any, name: str, members: Tensor | None, order: str) -> Tensor:
    values = getattr(dataset, name, None)
    if values is None:
        raise UserError(
            f"data_loader.order: {order} needs the {name} of the samples: give {type(dataset).__name__} an attribute "
            f"`{name}`, a list or tensor with a number a sample"
        )
    check_one_each(dataset, name, values)
    try:
        values = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"data_loader.order: the {name} of {type(dataset).__name__} are no numbers: {error}") from error
    if values.ndim != 1 and name != "targets":
        raise UserError(f"data_loader.order: {name} is to be one number a sample; found {tuple(values.shape)}")
    return values if members is None else values.index_select(0, members)


def _checked(order: Any, num_samples: int, name: str) -> Tensor:
    if not isinstance(order, Tensor) or order.dtype != torch.int64 or order.shape != (num_samples,):
        what = f"{order.dtype} {tuple(order.shape)}" if isinstance(order, Tensor) else type(order).__name__
        raise UserError(
            f"data_loader.order: {name} returned {what}; expected int64 ({num_samples},), places of samples"
        )
    if num_samples and not 0 <= int(order.min()) <= int(order.max()) < num_samples:
        raise UserError(f"data_loader.order: {name} returned places outside of 0 .. {num_samples - 1}")
    return order


class Request(NamedTuple):
    """A batch to be read: its epoch, its place in it, its samples, and their earlier draws in the epoch, int64 (N,).

    counts: see Batch. whole: of several processes, the samples of all.
    """

    epoch: int
    batch: int
    indices: numpy.ndarray
    draws: numpy.ndarray | None = None  # each is the first
    counts: bool = True
    whole: numpy.ndarray | None = None


class BatchOrder:
    """A function of the epoch: yields what to read for each batch, beginning at any batch of any epoch.

    order: places of samples in their part, int64 (num_samples,), as a function of the epoch: see data_loader/order.py.
    members: int64 (num_samples,), the indices that belong to this part of the dataset; None: all of them.
    most_batches: of an epoch, None for all; is_fixed: whether each epoch has those of the first.
    Batch i of an epoch takes the places i * batch_size to (i + 1) * batch_size of its order; of several processes,
    each takes its part of them.
    """

    def __init__(
        self,
        order: Order,
        num_samples: int,
        batch_size: int,
        drop_last: bool,
        members: Tensor | None,
        most_batches: int | None = None,
        is_fixed: bool = False,
    ):
        self.order = order
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.members = members
        self.most_batches = most_batches
        self.is_fixed = is_fixed
        self.epoch = 0
        self.first = 0

    def __len__(self) -> int:
        """Batches an epoch."""
        return min(self.num_batches, self.most_batches or self.num_batches)

    @property
    def num_batches(self) -> int:
        """Those there are, whatever an epoch takes of them."""
        whole, left = divmod(self.num_samples, self.batch_size)
        return whole + (left > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Request]:
        epoch, first = self.epoch, self.first
        order = self.indices(epoch)
        indices = order.numpy()  # torch would share a tensor with a worker through a file, batch by batch
        draws = self.order.earlier_draws(order)
        for batch in range(first, len(self)):
            part, counts = self.part_of(batch)
            whole = indices[batch * self.batch_size :][: self.batch_size] if num_ranks() > 1 else None
            yield Request(epoch, batch, indices[part], None if draws is None else draws[part], counts, whole)

    def part_of(self, batch: int) -> tuple[slice, bool]:
        """This process's places of a batch in the order of its epoch, and whether they count.

        Where there are fewer samples than processes, some get one that does not: all take the same number of steps.
        """
        first = batch * self.batch_size
        num_samples = min(self.batch_size, self.num_samples - first)
        start, stop = (first + num_samples * (rank() + i) // num_ranks() for i in (0, 1))
        return slice(start, max(stop, start + 1)), stop > start

    def indices(self, epoch: int) -> Tensor:
        """Those of an epoch in their order, int64 (num_samples,): 0.3 s for ten million samples."""
        places = self.order(0 if self.is_fixed else epoch)
        return places if self.members is None else self.members.index_select(0, places)


def examples(dataset: Any, order: BatchOrder, num_samples: int) -> Tensor:
    """The indices of at most so many samples from all over a part, int64.

    Where the dataset has `lengths`, one alone is the shortest, and of several the last is the longest: they show which
    dimensions are not always the same, and whether a model has room for the longest.
    """
    num_samples = min(num_samples, order.num_samples)
    places = torch.arange(num_samples) * order.num_samples // num_samples
    if getattr(dataset, "lengths", None) is not None:
        lengths = _of_samples(dataset, "lengths", order.members, "bucketed")
        places[-1] = lengths.argmin() if num_samples == 1 else lengths.argmax()
    return places if order.members is None else order.members[places]
