"""Fewer batches than there are: `limit_batches` for a short trial, `overfit_batches` to be learned by heart."""

from __future__ import annotations

from typing import Any

import torch

from config.schema import DataLoaderConfig
from data_loader.batch_loader import BatchLoader
from data_loader.order import BatchOrder
from data_loader.parts import Part
from utils.errors import UserError


def limits_of_training(config: DataLoaderConfig) -> dict[str, Any]:
    """The arguments of BatchOrder that hold the limits of an epoch."""
    return {"most_batches": config.overfit_batches or config.limit_batches, "is_fixed": bool(config.overfit_batches)}


def check_limit(num_batches: int, config: DataLoaderConfig, training: bool) -> None:
    """UserError where there are not as many batches as are to be fixed. num_batches: those that an epoch takes."""
    if training and num_batches < (config.overfit_batches or 0):
        found = f"found {config.overfit_batches}, but an epoch has {num_batches} batches"
        raise UserError(f"data_loader.overfit_batches: {found}; expected at most that")


def limited_validation(part: Part, train_loader: BatchLoader, config: DataLoaderConfig) -> Part:
    """What a run is validated on: the samples of the fixed batches, or so many from all over the validation part.

    Its first ones would be of one class, where the samples lie in folders.
    """
    if config.overfit_batches:
        fixed = train_loader.order.indices(0)[: len(train_loader) * train_loader.batch_size]
        return Part(train_loader.dataset, fixed.unique())
    num_samples = (config.limit_batches or len(part)) * config.batch_size
    if num_samples >= len(part):
        return part
    places = torch.arange(num_samples) * len(part) // num_samples
    return Part(part.dataset, places if part.members is None else part.members[places])


def told_limit(order: BatchOrder) -> list[str]:
    """A line on what is left out of an epoch because the config says so, if anything is."""
    if order.is_fixed:
        return [f"the same {len(order)} batches in each epoch, and in validation (data_loader.overfit_batches)"]
    if len(order) < order.num_batches:
        of_all = f"{len(order):,} of {order.num_batches:,} batches"
        return [f"each epoch takes {of_all}, validation as many samples at most (data_loader.limit_batches)"]
    return []
