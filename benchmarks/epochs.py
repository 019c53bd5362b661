"""One epoch of this project, of what people would use instead, and of the arithmetic alone.

Each contender has a process of its own, so that none gains or loses by what another has set or left behind.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.harness import Result, Row, in_a_process, interleaved, ratio

BATCH_SIZE = 128
NUM_WARM_UP_BATCHES = 5


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
    """A ninth of the pictures are for validation."""
    from benchmarks.peers import PEERS

    names = ("floor", "ours", *PEERS)
    seconds = interleaved(
        {name: partial(in_a_process, work.benchmark, "measure", name, num_pictures) for name in names},
        rounds,
        warm_up=False,
    )
    over_floor = ratio(seconds, "ours", "floor")
    rows = [
        Row("the arithmetic on ready tensors (floor)", f"{median(seconds['floor']):.2f} s"),
        Row(
            "ours",
            f"{median(seconds['ours']):.2f} s, {over_floor:.2f} x the floor",
            f"<= {most_over_floor} x",
            over_floor <= most_over_floor,
        ),
    ]
    for name in PEERS:
        under = ratio(seconds, name, "ours")
        shown = f"{median(seconds[name]):.2f} s, {under:.2f} x ours"
        rows.append(Row(name, shown, f">= {least_under_peer} x", under >= least_under_peer))
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
    from torch.utils.data import DataLoader, Subset

    from base import MODELS
    from benchmarks.peers import PEERS, bare
    from benchmarks.pictures import made_up, ready_batches, torchvision_dataset
    from script import load_registries

    load_registries()
    pictures, targets = made_up(num_pictures, work.shape)
    parts = slice(_num_train(num_pictures)), slice(_num_train(num_pictures), None)
    few = range(NUM_WARM_UP_BATCHES * BATCH_SIZE)
    if contender == "floor":
        loaders = [ready_batches(pictures[part], targets[part], BATCH_SIZE) for part in parts]
        warm_up = loaders[0][:NUM_WARM_UP_BATCHES]
    else:
        train, valid = (
            torchvision_dataset(pictures[part], targets[part], transform)
            for part, transform in zip(parts, work.transforms(), strict=True)
        )
        loaders = [DataLoader(train, BATCH_SIZE, shuffle=True), DataLoader(valid, BATCH_SIZE)]
        warm_up = DataLoader(Subset(train, few), BATCH_SIZE)

    torch.manual_seed(0)
    first_model = MODELS.build(work.model["type"], work.model["args"])
    first_model(torch.zeros(2, *work.shape))
    train_epoch = bare if contender == "floor" else PEERS[contender]
    for batches in ((warm_up, warm_up), loaders):
        model = copy.deepcopy(first_model)
        name, args = work.optimizer
        with tempfile.TemporaryDirectory() as folder:
            seconds = train_epoch(model, getattr(torch.optim, name)(model.parameters(), **args), *batches, Path(folder))
    return seconds


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
