"""Run the real train.py and test.py, in this process, on a config that takes a moment."""

import contextlib
import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import test as test_script
import train as train_script
from base import LOGGERS
from config.load import check_config, read_config
from config.schema import Config, DataLoaderConfig, DatasetConfig
from data_loader.build import build_loader
from model.build import build_model
from script import load_registries
from trainer.optimizer import FUSED
from utils.checkpoint import read_checkpoint

# Five steps an epoch, on vectors of eight numbers in three classes.
TINY = """\
name: tiny
device: cpu
dataset: {type: Synthetic, args: {shape: [8], size: 40, valid_size: 20, test_size: 20, num_classes: 3}}
data_loader: {batch_size: 8, num_workers: 0}
model: {type: MLP, args: {in_features: 8, hidden: [8], out_features: 3}}
loss: CrossEntropyLoss
optimizer: {type: SGD, args: {lr: 0.1, momentum: 0.9}}
trainer: {epochs: 2, tensorboard: false, log_every: 1, loggers: [Recorder]}
"""
PICTURES = ("dataset.args.shape=[3, 8, 8]", "model={type: LeNet, args: {num_classes: 3, in_channels: 3, dropout: 0}}")


@LOGGERS.register
class Recorder:
    """Keeps the scores of every step in recorded.jsonl, and calls what a test sets as `on_step` after each."""

    on_step: Callable[[int], object] = staticmethod(lambda step: None)

    def __init__(self, folder: Path):
        self.path = folder / "recorded.jsonl"

    def log(self, step: int, scores: dict[str, float]) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps([step, scores]) + "\n")
        if "lr" in scores:
            self.on_step(step)

    def flush(self) -> None: ...

    def close(self) -> None: ...


def train(folder: Path, *arguments: str, config: str = TINY, code: int = 0) -> Path:
    """Train in folder/saved; returns the newest run's folder. code: the exit code to expect."""
    path = folder / "tiny.yaml"
    path.write_text(config)
    found = train_script.main(["-c", str(path), f"trainer.save_dir={folder / 'saved'}", *arguments])
    assert found == code
    names = sorted((folder / "saved").glob("*/latest"), key=lambda link: link.stat().st_mtime)
    return names[-1].resolve() if names else folder / "saved"


def read(folder: Path, *overrides: str, config: str = TINY) -> Config:
    """The checked config that `train` would use."""
    path = folder / "read.yaml"
    path.write_text(config)
    return check_config(read_config([str(path)], overrides), load_registries)


def first_model(config: Config) -> nn.Module:
    """The model that a run starts from, in training mode."""
    return build_model(config.model, config.seed, is_trained=False).train()


def loader_of(name: str, split: str = "train", training=True, transforms=(), seed=1, args=None, **settings) -> Any:
    """The loader of a dataset, in batches of four in this process; transforms: of samples, settings: data_loader's."""
    both = {"train": list(transforms), "eval": list(transforms)}
    dataset = DatasetConfig(type=name, args=args or {}, transforms=both)
    data_loader = DataLoaderConfig(**{"batch_size": 4, "num_workers": 0, **settings})
    return build_loader(dataset, data_loader, split, seed, torch.device("cpu"), training=training)


def by_hand(config: Config, num_epochs: int, before_update=lambda *_: None, after_update=lambda model: None):
    """The model after a plain loop with torch's own optimizer and cross entropy, a batch a step.

    before_update gets the model, its output and the targets; after_update the model.
    """
    model = first_model(config)
    kernel = {"fused": True} if config.optimizer.type in FUSED else {}
    optimizer = getattr(torch.optim, config.optimizer.type)(model.parameters(), **kernel, **config.optimizer.args)
    loader = build_loader(config.dataset, config.data_loader, "train", config.seed, torch.device("cpu"), training=True)
    for batch in (batch for epoch in range(num_epochs) for batch in loader.batches(epoch)):
        inputs, targets = batch.data
        optimizer.zero_grad()
        output = model(inputs)
        nn.functional.cross_entropy(output, targets).backward()
        before_update(model, output, targets)
        optimizer.step()
        after_update(model)
    return model


def resume(run: Path, *arguments: str, code: int = 0) -> Path:
    """Go on with a run, or from one of its checkpoints; returns the path."""
    assert train_script.main(["-r", str(run), *arguments]) == code
    return run


def evaluate(run: Path, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Run test.py; returns what is in metrics.json."""
    out = run / "results" if run.is_dir() else run.parent / "results"
    assert test_script.main(["-r", str(run), "--out", str(out), *arguments]) == code
    return json.loads((out / "metrics.json").read_text()) if code == 0 else {}


def recorded(run: Path, name: str) -> dict[int, float]:
    """A score by step, as the Recorder saw it."""
    lines = [json.loads(line) for line in (run / "recorded.jsonl").read_text().splitlines()]
    return {step: scores[name] for step, scores in lines if name in scores}


def rows(run: Path) -> list[dict[str, float]]:
    """metrics.csv."""
    with open(run / "metrics.csv", encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def table_of(run: Path) -> list[dict[str, float]]:
    """metrics.csv without times."""
    return [{**row, "seconds": 0, "samples_per_second": 0} for row in rows(run)]


def assert_same_table(run: Path, other: Path) -> None:
    assert_same(table_of(run), table_of(other))


def status(run: Path) -> str:
    return json.loads((run / "run.json").read_text())["status"]


def state_of(run: Path, name: str = "last") -> dict[str, Any]:
    """A checkpoint of a run: last, best, or by its step."""
    file_name = f"{name}.pt" if isinstance(name, str) else f"step-{name:09d}.pt"
    return read_checkpoint(run / "checkpoints" / file_name)


def steps_saved(run: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*.pt"))


@contextlib.contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file grows beyond `size` bytes, as on a disk that is full: a real write fails at this very byte."""
    resource = pytest.importorskip("resource")  # not on Windows
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def assert_same(left: Any, right: Any, place: str = "") -> None:
    """Nested plain data and tensors are equal, bit for bit."""
    if isinstance(left, dict):
        assert left.keys() == right.keys(), place
        for key in left:
            assert_same(left[key], right[key], f"{place}.{key}")
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right), place
        for i, (one, other) in enumerate(zip(left, right, strict=True)):
            assert_same(one, other, f"{place}.{i}")
    elif isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype and torch.equal(left, right), place
    else:
        assert left == right or (left != left and right != right), f"{place}: {left} and {right}"


def assert_same_state(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Two checkpoints are equal but for what may differ: times, how far the logs go, and where and how long to run."""
    may_differ = ("config", "epoch_seconds", "logs")
    assert_same(*({key: value for key, value in each.items() if key not in may_differ} for each in (left, right)))


def assert_same_end(run: Path, other: Path) -> None:
    """Two runs have the same last checkpoint and the same metrics.csv."""
    assert_same_state(state_of(run), state_of(other))
    assert_same_table(run, other)
