"""What a step costs beyond its arithmetic: a tiny linear model, progress bar, TensorBoard and metrics on."""

import copy
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import Result, Row, difference, in_a_process, interleaved
from benchmarks.template import checked, fit

NUM_STEPS = 5000
PUBLIC_ONLY = {"TEMPLATE_PUBLIC_ONLY": "1"}  # see utils/torch_internals.py; read at import, so in a process of its own


class Pairs:
    """This project's loader for the others, who want (inputs, target)."""

    def __init__(self, loader):
        self.loader = loader

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator:
        return (batch.data for batch in self.loader.batches())


def config_of(num_steps: int) -> dict[str, Any]:
    return {
        "dataset": {"type": "Synthetic", "args": {"shape": [8], "size": 32 * num_steps, "num_classes": 4}},
        "data_loader": {"batch_size": 32, "validation_split": 0},
        "model": {"type": "LinearRegression", "args": {"in_features": 8, "out_features": 4}},
        "loss": {"type": "CrossEntropyLoss"},
        "metrics": [{"type": "accuracy"}],
        "optimizer": {"type": "SGD", "args": {"lr": 0.01, "momentum": 0.9}},
        "trainer": {"epochs": 1, "monitor": "off"},
    }


def microseconds(scale: float) -> float:
    """Of a step of ours in a fresh process."""
    num_steps = int(NUM_STEPS * scale)
    fit(config_of(10))  # imports
    return fit(config_of(num_steps)) / num_steps * 1e6


def ours(scale: float) -> dict[str, float]:
    return {"a step": microseconds(scale) / 1e6}


def run(rounds: int, scale: float) -> Result:
    # Here, so that `ours` can be run with the modules of a checkout that has some of these elsewhere.
    import torch

    from base import MODELS
    from benchmarks.peers import NOT_INSTALLED, PEERS, bare
    from data_loader.build import build_loaders
    from script import load_registries
    from trainer.optimizer import build_optimizer

    load_registries()
    num_steps = int(NUM_STEPS * scale)
    config = config_of(num_steps)
    made = checked(config)
    loader, _ = build_loaders(made.dataset, made.data_loader, made.seed, torch.device("cpu"))
    model = MODELS.build("LinearRegression", config["model"]["args"])

    def contender(train_epoch):
        def run_once() -> float:
            own = copy.deepcopy(model)
            with tempfile.TemporaryDirectory() as folder:
                seconds = train_epoch(own, build_optimizer(made.optimizer, own), Pairs(loader), [], Path(folder))
            return seconds / num_steps * 1e6

        return run_once

    contenders = {"bare": contender(bare), "ours": lambda: fit(config) / num_steps * 1e6}
    for name, environment in (("alone", {}), ("public", PUBLIC_ONLY)):
        contenders[name] = partial(in_a_process, "overhead", "microseconds", scale, **environment)
    contenders |= {name: contender(peer) for name, peer in PEERS.items()}
    rounds = 2 * rounds + 1  # differences of microseconds are smaller than the noise of a busy machine
    taken = interleaved(contenders, rounds)
    own = difference(taken, "ours", "bare")
    rows = [
        Row("bare loop", f"{median(taken['bare']):.0f} us a step"),
        Row("ours", f"{own:.0f} us more", "<= 60 us", own <= 60),
        Row("ours, public calls only", f"{own + difference(taken, 'public', 'alone'):.0f} us more"),
    ]
    for name in PEERS:
        more = difference(taken, name, "bare")
        rows.append(
            Row(name, f"{more:.0f} us more", "more than ours" if name != "hand-written loop" else "", more > own)
        )
    rows += [Row(name, "not installed") for name in NOT_INSTALLED]
    return Result(
        f"{num_steps:,} steps, 8 features, batch 32, one checkpoint at the end, median of {rounds} rounds.", rows
    )
