"""One epoch of this project, of what people would use instead, and of the arithmetic alone.

Each contender has a process of its own, so that none gains or loses by what another has set or left behind.

A floor is forward and backward passes and optimizer steps over an epoch of batches that lie ready in memory, as
normalised floats in the order of the dataset, then forward passes, losses and counts of right answers over the
validation batches. There is no shuffling, reading, converting, cropping or flipping in it, no sum of losses or of right
answers in training, no check, log or checkpoint: all that is for the project to do in what it may take longer. The
floor is written as usual; the second floor has what the project chooses on a CPU: pictures and weights with their
channels last, the optimizer's fused kernel, and freed memory that is kept.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.harness import Result, Row, in_a_process, interleaved, ratio

BATCH_SIZE = 128
NUM_WARM_UP_BATCHES = 5
MOST_OVER_SECOND_FLOOR = 1.05
FLOORS = {"floor": "the arithmetic on ready tensors", "second floor": "the same with our kernels"}


class Work(NamedTuple):
    """What all contenders do, each in its own way.

    batch_transforms: of the config, (training, evaluation). transforms: makes torchvision's (training, evaluation).
    optimizer: of torch.optim, by its name and arguments.
    """

    benchmark: str
    shape: tuple[int, int, int]
    model: dict[str, Any]
    optimizer: tuple[str, dict[str, Any]]
    batch_transforms: tuple[list, list]
    transforms: Callable[[], tuple[Callable, Callable]]


def run(work: Work, num_pictures: int, rounds: int, most_over_floor: float, least_under_peer: float) -> Result:
    """A tenth of the pictures are for validation."""
    from benchmarks.peers import NOT_INSTALLED, PEERS

    names = (*FLOORS, "ours", *PEERS)
    seconds = interleaved(
        {name: partial(in_a_process, work.benchmark, "measure", name, num_pictures) for name in names},
        rounds,
        warm_up=False,
    )
    rows = [Row(f"{what} ({name})", f"{median(seconds[name]):.2f} s") for name, what in FLOORS.items()]
    rows.append(Row("ours", f"{median(seconds['ours']):.2f} s"))
    for name, most in (("floor", most_over_floor), ("second floor", MOST_OVER_SECOND_FLOOR)):
        over = ratio(seconds, "ours", name)
        rows.append(Row(f"ours against the {name}", f"{over:.2f} x", f"<= {most} x", over <= most))
    for name in PEERS:
        under = ratio(seconds, name, "ours")
        shown = f"{median(seconds[name]):.2f} s, {under:.2f} x ours"
        rows.append(Row(name, shown, f">= {least_under_peer} x", under >= least_under_peer))
    rows += [Row(name, "not installed") for name in NOT_INSTALLED]
    return Result(
        f"One epoch of {_num_train(num_pictures):,} + {num_pictures - _num_train(num_pictures):,} pictures "
        f"{work.shape}, {work.model['type']}, batch {BATCH_SIZE}, median of {rounds} rounds.",
        rows,
    )


def measure(work: Work, contender: str, num_pictures: int) -> float:
    """Seconds of an epoch, after a few batches that are not counted."""
    if contender == "ours":
        return _ours(work, num_pictures)
    import torch

    from base import MODELS
    from benchmarks.peers import PEERS, bare
    from script import load_registries
    from utils.machine import keep_freed_memory

    load_registries()
    name, args = work.optimizer
    memory_format = torch.contiguous_format
    if contender == "second floor":
        keep_freed_memory()
        memory_format, args = torch.channels_last, {**args, "fused": True}
    is_floor = contender in FLOORS
    batches = _ready_batches(work, num_pictures, memory_format) if is_floor else _dataset_batches(work, num_pictures)
    torch.manual_seed(0)
    first_model = MODELS.build(work.model["type"], work.model["args"])
    first_model(torch.zeros(2, *work.shape))
    train_epoch = PEERS.get(contender, bare)
    for train, valid in batches:
        model = copy.deepcopy(first_model).to(memory_format=memory_format)
        with tempfile.TemporaryDirectory() as folder:
            optimizer = getattr(torch.optim, name)(model.parameters(), **args)
            seconds = train_epoch(model, optimizer, train, valid, Path(folder))
    return seconds


def _ready_batches(work: Work, num_pictures: int, memory_format: Any) -> Iterator[tuple]:
    """(training, validation) batches for the warm-up and for the epoch, as floats in memory."""
    from benchmarks.pictures import made_up, ready_batches

    made = zip(*(tensor.split(_num_train(num_pictures)) for tensor in made_up(num_pictures, work.shape)), strict=True)
    train, valid = (ready_batches(*part, BATCH_SIZE, memory_format) for part in made)
    yield train[:NUM_WARM_UP_BATCHES], train[:NUM_WARM_UP_BATCHES]
    yield train, valid


def _dataset_batches(work: Work, num_pictures: int) -> Iterator[tuple]:
    """The same from torchvision's datasets, picture by picture."""
    from torch.utils.data import DataLoader, Subset

    from benchmarks.pictures import made_up, torchvision_dataset

    made = zip(*(tensor.split(_num_train(num_pictures)) for tensor in made_up(num_pictures, work.shape)), strict=True)
    train, valid = (
        torchvision_dataset(*part, transform) for part, transform in zip(made, work.transforms(), strict=True)
    )
    warm_up = DataLoader(Subset(train, range(NUM_WARM_UP_BATCHES * BATCH_SIZE)), BATCH_SIZE)
    yield warm_up, warm_up
    yield DataLoader(train, BATCH_SIZE, shuffle=True), DataLoader(valid, BATCH_SIZE)


def _ours(work: Work, num_pictures: int) -> float:
    from benchmarks import pictures  # noqa: F401  (registers its dataset)
    from benchmarks.template import fit

    train, evaluation = work.batch_transforms
    name, args = work.optimizer
    config = {
        "dataset": {
            "type": "BenchmarkPictures",
            "args": {"shape": list(work.shape), "size": num_pictures},
            "batch_transforms": {"train": train, "eval": evaluation},
        },
        "data_loader": {
            "batch_size": BATCH_SIZE,
            "validation_split": num_pictures - _num_train(num_pictures),
            "drop_last": False,
        },
        "model": work.model,
        "loss": {"type": "CrossEntropyLoss"},
        "metrics": [{"type": "accuracy"}],
        "optimizer": {"type": name, "args": args},
    }
    for length in ({"max_steps": NUM_WARM_UP_BATCHES}, {"epochs": 1}):
        seconds = fit({**config, "trainer": {**length, "monitor": "off"}})
    return seconds


def _num_train(num_pictures: int) -> int:
    return num_pictures - num_pictures // 10
