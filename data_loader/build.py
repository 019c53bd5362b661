"""Datasets, transforms and loaders from a config."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from base import BATCH_TRANSFORMS, DATASETS
from base.signature import parameters_of
from config.schema import ComponentConfig, DataLoaderConfig, DatasetConfig
from data_loader.batch_loader import BatchLoader, BatchOrder, BatchReader
from data_loader.library_splits import build_library_dataset, has_split, split_choices
from data_loader.resident import resident_data
from data_loader.splitting import held_out
from data_loader.transforms import build_transforms
from utils.errors import UserError

MOST_AUTO_WORKERS = 4


def build_loaders(
    dataset: DatasetConfig, data_loader: DataLoaderConfig, seed: int, device: torch.device
) -> tuple[BatchLoader, BatchLoader | None]:
    """The training loader, shuffled, and the validation loader; None in its place where validation_split is 0.

    UserError when a part is not to be had, is empty, or (training) holds less than a batch.
    """
    parts = _build_parts(dataset, data_loader, ("train", "valid"), seed)
    loaders = {
        split: _loader_of(*part, dataset, data_loader, split, seed=seed, training=split == "train", device=device)
        for split, part in parts.items()
    }
    return loaders["train"], loaders.get("valid")


def build_loader(
    dataset: DatasetConfig,
    data_loader: DataLoaderConfig,
    split: str,
    seed: int,
    device: torch.device,
    *,
    training: bool = False,
) -> BatchLoader:
    """The loader of one split, in order, with every sample, unless it is for training; raises as `build_loaders`."""
    parts = _build_parts(dataset, data_loader, (split,), seed)
    if split not in parts:
        raise UserError("there is no validation part: data_loader.validation_split is 0")
    return _loader_of(*parts[split], dataset, data_loader, split, seed=seed, training=training, device=device)


def _build_parts(
    config: DatasetConfig, data_loader: DataLoaderConfig, splits: Sequence[str], seed: int
) -> dict[str, tuple[Dataset, Tensor | None]]:
    """For each split the dataset that holds it, and which samples of that belong to it (None: all)."""
    validation_split = data_loader.validation_split
    if validation_split and "test" not in splits:
        train_set = build_dataset(config, "train", **_without_own_validation(config))
        num_valid = _num_valid(validation_split, len(train_set))
        members = dict(zip(("train", "valid"), held_out(len(train_set), num_valid, seed), strict=True))
        return {split: (train_set, members[split]) for split in splits}
    if validation_split is None and "valid" in splits and not has_split(config, "valid"):
        raise UserError(
            f"dataset {config.type} has no validation part of its own: set data_loader.validation_split to the share "
            "of the training set to use, such as 0.1, or to 0 for no validation"
        )
    is_wanted = {"train": True, "valid": validation_split != 0, "test": True}
    return {split: (build_dataset(config, split), None) for split in splits if is_wanted[split]}


def _without_own_validation(config: DatasetConfig) -> dict[str, float]:
    """The argument that keeps a dataset from taking validation data from the training part a second time."""
    if "valid_fraction" not in parameters_of(DATASETS.find(config.type)).by_name:
        return {}
    if config.args.get("valid_fraction"):
        raise UserError(
            "data_loader.validation_split and dataset.args.valid_fraction both take validation data from the training "
            "set: give one of them"
        )
    return {"valid_fraction": 0.0}


def _num_valid(validation_split: float | int, num_samples: int) -> int:
    num_valid = round(validation_split * num_samples) if isinstance(validation_split, float) else validation_split
    if not 0 < num_valid < num_samples:
        expected = f"at least 1 and at most {num_samples - 1}" if num_samples > 1 else "at least 2 to divide"
        raise UserError(
            f"data_loader.validation_split: {validation_split} of {num_samples} training samples are {num_valid}; "
            f"expected {expected}"
        )
    return num_valid


def _loader_of(
    data: Dataset,
    members: Tensor | None,
    dataset: DatasetConfig,
    data_loader: DataLoaderConfig,
    split: str,
    *,
    seed: int,
    training: bool,
    device: torch.device,
) -> BatchLoader:
    num_samples = len(data) if members is None else len(members)
    drop_last = training and data_loader.drop_last
    _check_size(f"dataset {dataset.type}: the {split} part", num_samples, data_loader.batch_size, drop_last)
    transforms = dataset.transforms.train if training else dataset.transforms.eval
    may_skip = data_loader.skip_bad_samples
    reader = BatchReader(data, build_transforms(transforms), seed, skips_bad=may_skip > 0)
    order = BatchOrder(
        num_samples, data_loader.batch_size, seed=seed, shuffle=training, drop_last=drop_last, members=members
    )
    num_workers = data_loader.num_workers
    if num_workers == "auto":
        num_workers = 0 if reader.takes_batches else min(MOST_AUTO_WORKERS, _num_cores())
    resident = resident_data(reader, device, data_loader.num_workers, data_loader.on_device)
    return BatchLoader(reader, order, num_workers, device, may_skip, resident)


def _check_size(part: str, num_samples: int, batch_size: int, drop_last: bool) -> None:
    if num_samples == 0:
        remedy = "; data_loader.validation_split=0.1 takes a tenth of the training part" if "valid part" in part else ""
        raise UserError(f"{part} has 0 samples{remedy}")
    if drop_last and num_samples < batch_size:
        raise UserError(
            f"{part} has {num_samples} samples, less than one batch of {batch_size}, and data_loader.drop_last leaves "
            "out what fills no batch: lower data_loader.batch_size or set data_loader.drop_last=false"
        )


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_dataset(config: DatasetConfig, split: str, **more_args: Any) -> Dataset:
    """One split of a dataset. UserError when it has no such split, or a library's dataset is not to be had."""
    if not has_split(config, split):
        raise UserError(
            f"dataset {config.type} has no {split} part of its own; if there are arguments that give one, write them "
            f"in dataset.split_args.{split}"
        )
    args = {**config.args, **more_args, **getattr(config.split_args, split)}
    choices = split_choices(config, split)
    if DATASETS.is_own(config.type):
        dataset = DATASETS.build(config.type, args, **next(choices))
    else:
        dataset = build_library_dataset(config.type, args, split, choices)
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise UserError(
            f"dataset {config.type} is read from front to end (an IterableDataset, or without a length); "
            "this template needs samples by index: give it __len__ and __getitem__"
        )
    return dataset


def build_batch_transforms(components: list[ComponentConfig]) -> nn.Module:
    """The transforms of a batch, float (N, C, H, W) on the device, in a row."""
    return nn.Sequential(*(BATCH_TRANSFORMS.build(component.type, component.args) for component in components))
