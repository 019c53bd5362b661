"""Datasets, transforms and loaders from a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from base import BATCH_TRANSFORMS
from config.schema import BatchTransformsConfig, DataLoaderConfig, DatasetConfig, OrderConfig
from data_loader.batch_loader import BatchLoader, BatchReader
from data_loader.facts import transform_args
from data_loader.limits import check_limit, limited_validation, limits_of_training
from data_loader.order import BatchOrder, build_order
from data_loader.parts import Part, build_parts
from data_loader.resident import resident_data
from data_loader.sizes import check_share, check_size, leaves_out_last, num_auto_workers
from data_loader.transforms import build_transforms
from utils.errors import UserError

SEQUENTIAL = OrderConfig(type="sequential")


def build_loaders(
    dataset: DatasetConfig,
    data_loader: DataLoaderConfig,
    seed: int,
    device: torch.device,
    preprocessing: dict[str, Any] | None = None,
) -> tuple[BatchLoader, BatchLoader | None]:
    """The training loader, shuffled, and the validation loader; None in its place where validation_split is 0.

    UserError when a part is not to be had, is empty, or (training) holds less than a batch.
    """
    check_share(data_loader.batch_size)
    common = (dataset, data_loader)
    parts = build_parts(*common, ("train", "valid"), seed, preprocessing)
    train_loader = _loader_of(parts["train"], *common, "train", seed=seed, training=True, device=device)
    if (part := parts.get("valid")) is None:
        return train_loader, None
    part = limited_validation(part, train_loader, data_loader)
    return train_loader, _loader_of(part, *common, "valid", seed=seed, training=False, device=device)


def build_loader(
    dataset: DatasetConfig,
    data_loader: DataLoaderConfig,
    split: str,
    seed: int,
    device: torch.device,
    *,
    training: bool = False,
    preprocessing: dict[str, Any] | None = None,
) -> BatchLoader:
    """The loader of one split, in order, with every sample, unless it is for training; raises as `build_loaders`."""
    parts = build_parts(dataset, data_loader, (split,), seed, preprocessing)
    if split not in parts:
        raise UserError("there is no validation part: data_loader.validation_split is 0")
    return _loader_of(parts[split], dataset, data_loader, split, seed=seed, training=training, device=device)


def _loader_of(
    part: Part,
    dataset: DatasetConfig,
    data_loader: DataLoaderConfig,
    split: str,
    *,
    seed: int,
    training: bool,
    device: torch.device,
) -> BatchLoader:
    num_samples = len(part)
    drop_last = training and leaves_out_last(num_samples, data_loader.batch_size, data_loader.drop_last)
    check_size(f"dataset {dataset.type}: the {split} part", num_samples, data_loader.batch_size, drop_last)
    transforms = dataset.transforms.train if training else dataset.transforms.eval
    may_skip = data_loader.skip_bad_samples
    reader = BatchReader(part.dataset, build_transforms(transforms), seed, skips_bad=may_skip > 0)
    known = {"seed": seed, "num_samples": num_samples, "batch_size": data_loader.batch_size}
    order_fn = build_order(data_loader.order if training else SEQUENTIAL, part.dataset, part.members, **known)
    limits = limits_of_training(data_loader) if training else {}
    order = BatchOrder(order_fn, num_samples, data_loader.batch_size, drop_last, part.members, **limits)
    check_limit(len(order), data_loader, training)
    num_workers = data_loader.num_workers
    if num_workers == "auto":
        num_workers = 0 if reader.takes_batches else num_auto_workers()
    resident = resident_data(reader, device, data_loader.num_workers, data_loader.on_device)
    return BatchLoader(reader, order, num_workers, device, may_skip, resident)


def build_batch_transforms(config: BatchTransformsConfig, split: str, facts: Mapping[str, int]) -> nn.Sequential:
    """The transforms of a batch, float (N, C, H, W) on the device, in a row. facts: what the data say of themselves."""
    components = getattr(config, split)
    built: list[nn.Module] = []
    for place, component in enumerate(components):
        args = transform_args(component, facts, f"dataset.batch_transforms.{split}.{place}")
        built.append(BATCH_TRANSFORMS.build(component.type, args))
        if getattr(built[-1], "mixes_samples", False) and (split == "eval" or place < len(components) - 1):
            remedy = "it is for training alone" if split == "eval" else "it must be the last of the list"
            raise UserError(f"dataset.batch_transforms.{split}.{place}: {component.type} mixes samples: {remedy}")
    return nn.Sequential(*built)
