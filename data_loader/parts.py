"""The parts of a dataset: built by their split, or held out of the training part."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from base import DATASETS
from base.signature import parameters_of
from config.schema import DataLoaderConfig, DatasetConfig, FoldConfig
from data_loader.folds import Fold, check_fold
from data_loader.library_splits import build_library_dataset, has_split, split_choices
from data_loader.part_notes import told_of_share
from data_loader.sample_keys import keys_of_samples, strata_targets
from data_loader.splitting import held_out
from utils.errors import UserError

logger = logging.getLogger(__name__)


class Part(NamedTuple):
    """A part of the data. members: int64, rising, the samples of the dataset that belong to it; None: all."""

    dataset: Dataset
    members: Tensor | None

    def __len__(self) -> int:
        return len(self.dataset) if self.members is None else len(self.members)


def build_parts(
    config: DatasetConfig,
    data_loader: DataLoaderConfig,
    splits: Sequence[str],
    seed: int,
    preprocessing: dict[str, Any] | None = None,
) -> dict[str, Part]:
    """Each of the splits, but for a validation part that is not wanted. UserError when one is not to be had.

    preprocessing: of a checkpoint; None: the training part fits its own, and the others get it.
    """
    validation_split = share = data_loader.validation_split
    _check_validation(config, validation_split, splits)
    parameters = parameters_of(DATASETS.find(config.type)).by_name
    config, args, fold = _with_fold(config, data_loader.fold, parameters, seed)
    if "valid_fraction" in parameters and share is not None:
        args["valid_fraction"], share = share, None

    parts: dict[str, Part] = {}
    for split in splits:
        if split in parts or (split == "valid" and validation_split == 0):
            continue
        if "preprocessing" in parameters and preprocessing is not None:
            args["preprocessing"] = preprocessing
        is_divided = (share and split != "test") or (fold is not None and split != "valid")
        dataset = build_dataset(config, "train" if is_divided else split, **args)
        fitted = getattr(dataset, "preprocessing", None)
        if is_divided:
            parts |= {name: part for name, part in _held_out(dataset, share, seed, fold) if name in splits}
            if preprocessing is None and fitted is not None:
                logger.warning(
                    "data_loader.validation_split: what %s has fitted, it has fitted on the samples held out too; "
                    "with an argument `valid_fraction` it gets the share, and can leave them out (docs/data.md)",
                    config.type,
                )
        else:
            parts[split] = Part(dataset, None)
        if preprocessing is None:
            preprocessing = fitted
    return parts


def _with_fold(
    config: DatasetConfig, asked: FoldConfig | None, parameters: Mapping[str, Any], seed: int
) -> tuple[DatasetConfig, dict[str, Any], Fold | None]:
    """The dataset's config, its further arguments, and the fold, where it does not hold that out itself."""
    if asked is None:
        return config, {}, None
    fold = Fold.from_config(asked, seed)
    args = check_fold(config, asked, parameters)
    if "test_fold" not in parameters:
        return config, args, fold
    split_args = config.split_args.model_copy(update={"test": config.split_args.train})
    return config.model_copy(update={"split_args": split_args}), {**args, "test_fold": fold}, None


def _check_validation(config: DatasetConfig, validation_split: float | int | None, splits: Sequence[str]) -> None:
    """UserError where no validation part is to be had, or two are asked for."""
    if validation_split is None and "valid" in splits and not has_split(config, "valid"):
        raise UserError(
            f"dataset {config.type} has no validation part of its own: set data_loader.validation_split to the share "
            "of the training set to use, such as 0.1, or to 0 for no validation"
        )
    if validation_split and config.args.get("valid_fraction"):
        raise UserError(
            "data_loader.validation_split and dataset.args.valid_fraction both take validation data from the training "
            "set: give one of them"
        )


def _held_out(
    train_set: Dataset, validation_split: float | int | None, seed: int, fold: Fold | None
) -> list[tuple[str, Part]]:
    """The training set without its validation part and the fold, and these two, as far as they are taken of it."""
    keys = keys_of_samples(train_set)
    is_test = torch.zeros(len(keys), dtype=torch.bool)
    if fold is not None:
        is_test = torch.from_numpy(fold.of_dataset(train_set, keys, strata_targets(train_set, 1 / fold.of)))
    num_samples = len(keys) - int(is_test.sum())
    is_valid = torch.zeros_like(is_test)
    if validation_split:
        num_valid = validation_split if isinstance(validation_split, int) else round(validation_split * num_samples)
        if num_samples < 2 or num_valid >= num_samples:
            expected = f"at least 1 and at most {num_samples - 1}" if num_samples > 1 else "at least 2 to divide"
            raise UserError(
                f"data_loader.validation_split: {validation_split} of {num_samples} training samples are {num_valid}; "
                f"expected {expected}"
            )
        targets = strata_targets(train_set, num_valid / num_samples)
        is_valid = held_out(keys, validation_split, "valid", seed, targets=targets, among=~is_test)
        found = {"valid": int(is_valid.sum()), "train": num_samples - int(is_valid.sum())}
        for note in told_of_share(found, validation_split):
            logger.warning(note.removeprefix("warning: "))
    taken = {"train": ~(is_valid | is_test), "valid": is_valid if validation_split else None}
    taken["test"] = is_test if fold is not None else None
    return [
        (split, Part(train_set, is_member.nonzero().squeeze(1)))
        for split, is_member in taken.items()
        if is_member is not None
    ]


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
