"""Made-up pictures for an epoch of training: for this project in memory, for the others one PIL picture at a time."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from base import DATASETS, MODELS
from benchmarks.harness import Result, Row, interleaved, ratio
from benchmarks.peers import PEERS, bare
from benchmarks.template import checked, fit
from data_loader.in_memory import InMemoryDataset
from experiment import load_registries
from trainer.batch import uint8_to_float
from trainer.optimizer import build_optimizer


def made_up(num_pictures: int, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """uint8 pictures (N, C, H, W) and classes (N,)."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(256, (num_pictures, *shape), dtype=torch.uint8, generator=generator)
    return pictures, torch.randint(10, (num_pictures,), generator=generator)


@DATASETS.register
class BenchmarkPictures(InMemoryDataset):
    """Pictures of noise."""

    def __init__(self, split: str, shape: tuple[int, ...], size: int):
        super().__init__(*made_up(size, tuple(shape)), [str(number) for number in range(10)])


class OneByOne(Dataset):
    """As torchvision's MNIST and CIFAR10 do it: a PIL picture from memory, then the transforms."""

    def __init__(self, pictures: Tensor, targets: Tensor, transform: Callable):
        self.pictures, self.targets, self.transform = (
            pictures.permute(0, 2, 3, 1).squeeze(3).numpy(),
            targets,
            transform,
        )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pictures[index])), int(self.targets[index])


class ReadyBatches:
    """Tensors of an epoch, transformed and divided into batches before the clock starts."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]]):
        self.ready = batches

    def __len__(self) -> int:
        return len(self.ready)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.ready)


def epoch(
    rounds: int,
    num_train: int,
    shape: tuple[int, ...],
    config: dict[str, Any],
    transforms: tuple[Callable, Callable],
    most_over_floor: float,
    least_under_peer: float,
) -> Result:
    """One epoch of each contender, validation on a ninth as many pictures included."""
    num_valid, batch_size = num_train // 9, config["data_loader"]["batch_size"]
    config = {
        **config,
        "dataset": {
            "type": "BenchmarkPictures",
            "args": {"shape": list(shape), "size": num_train + num_valid},
            **config["dataset"],
        },
        "data_loader": {**config["data_loader"], "validation_split": num_valid, "drop_last": False},
        "loss": {"type": "CrossEntropyLoss"},
        "metrics": [{"type": "accuracy"}],
        "trainer": {"epochs": 1, "monitor": "off"},
    }
    pictures, targets = made_up(num_train + num_valid, shape)
    datasets = [
        OneByOne(pictures[:num_train], targets[:num_train], transforms[0]),
        OneByOne(pictures[num_train:], targets[num_train:], transforms[1]),
    ]
    normalised = (uint8_to_float(pictures) - 0.5) / 0.25
    ready = [
        ReadyBatches(list(zip(normalised[part].split(batch_size), targets[part].split(batch_size), strict=True)))
        for part in (slice(num_train), slice(num_train, None))
    ]
    load_registries()
    first_model: nn.Module = MODELS.build(config["model"]["type"], config["model"]["args"])
    first_model(normalised[:2])

    def contender(train_epoch: Callable, is_ready: bool = False) -> Callable[[], float]:
        def run_once() -> float:
            model = copy.deepcopy(first_model)
            optimizer = build_optimizer(checked(config).optimizer, model)
            loaders = ready
            if not is_ready:
                loaders = [DataLoader(each, batch_size, shuffle=each is datasets[0]) for each in datasets]
            with tempfile.TemporaryDirectory() as folder:
                return train_epoch(model, optimizer, *loaders, Path(folder))

        return run_once

    contenders = {"floor": contender(bare, True), "ours": lambda: fit(config)}
    contenders |= {name: contender(peer) for name, peer in PEERS.items()}
    seconds = interleaved(contenders, rounds)
    over_floor = ratio(seconds, "ours", "floor")
    rows = [
        Row("the arithmetic on ready tensors (floor)", f"{median(seconds['floor']):.2f} s"),
        Row("ours", f"{median(seconds['ours']):.2f} s, {over_floor:.2f} x the floor", f"<= {most_over_floor} x",
            over_floor <= most_over_floor),
    ]  # fmt: skip
    for name in PEERS:
        under = ratio(seconds, name, "ours")
        shown = f"{median(seconds[name]):.2f} s, {under:.2f} x ours"
        rows.append(Row(name, shown, f">= {least_under_peer} x", under >= least_under_peer))
    work = (
        f"One epoch of {num_train:,} + {num_valid:,} pictures {shape}, batch {batch_size}, median of {rounds} rounds."
    )
    return Result(work, rows)
