"""Datasets and transforms from a config."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import nn
from torch.utils.data import Dataset, IterableDataset

from base import BATCH_TRANSFORMS, DATASETS, TRANSFORMS
from config.schema import ComponentConfig, DatasetConfig
from config.signature import Parameters, parameters_of
from data_loader.splitting import SPLITS
from utils.errors import UserError

# How torchvision's datasets call the splits, in the order in which the names are tried.
LIBRARY_SPLIT_NAMES = {"train": ("train", "trainval"), "valid": ("val", "valid", "validation"), "test": ("test",)}


def build_dataset(config: DatasetConfig, split: str, **more_args: Any) -> Dataset:
    """One split of a dataset. UserError when it has no such split, or a library's dataset is not to be had."""
    component = DATASETS.find(config.type)
    split_args = getattr(config.split_args, split)
    if not has_split(config, split):
        raise UserError(
            f"dataset {config.type} has no {split} part of its own; if there are arguments that give one, write them "
            f"in dataset.split_args.{split}"
        )
    args = {**config.args, **more_args, **split_args}
    last_error = last_message = None
    for split_choice in _split_choices(config.type, component, split, split_args):
        try:
            dataset = DATASETS.build(config.type, args, **split_choice)
        except (UserError, RuntimeError, OSError, ImportError) as error:
            if DATASETS.is_own(config.type):
                raise
            message = str(error).removeprefix(prefix := f"dataset {config.type}: ")  # which Registry.build has added
            is_tried = "split" in split_choice or "image_set" in split_choice
            if not is_tried or "Unknown value" not in message:  # torchvision's words for a split that is not there
                message = message.replace("download=True", "dataset.args.download=true")
                raise UserError(prefix + message) from error
            last_error, last_message = error, message
            continue
        _check_is_map_style(config.type, dataset)
        return dataset
    raise UserError(
        f"dataset {config.type} has no split that could serve as '{split}' ({last_message}); "
        f"say which in dataset.split_args.{split}"
    ) from last_error


def has_split(config: DatasetConfig, split: str) -> bool:
    """Whether a dataset may have this split: False only where it certainly does not."""
    component = DATASETS.find(config.type)
    parameters = parameters_of(component).by_name
    says_nothing = {"split"} if "train" in parameters and not DATASETS.is_own(config.type) else set()  # as EMNIST's
    if getattr(config.split_args, split).keys() - says_nothing:
        return True
    if DATASETS.is_own(config.type) and "split" in parameters:
        return split in getattr(component, "splits", SPLITS)
    if "train" in parameters:
        return split != "valid"
    return split == "train" or "split" in parameters or "image_set" in parameters


def _split_choices(name: str, component: Callable, split: str, split_args: Mapping) -> Iterator[dict[str, Any]]:
    """The arguments, one set after another, that may make the dataset give this split."""
    parameters = parameters_of(component)
    if DATASETS.is_own(name) and "split" in parameters.by_name:
        choices = [{"split": split}]
    elif "train" in parameters.by_name:  # EMNIST has both: its `split` is something else
        choices = [{"train": split == "train"}]
    elif "split" in parameters.by_name or "image_set" in parameters.by_name:
        key = "split" if "split" in parameters.by_name else "image_set"
        names = [*LIBRARY_SPLIT_NAMES[split], *_default_if_train(parameters, key, split)]
        choices = [{key: choice} for choice in names]
    else:
        choices = [{}]
    yield from ([{}] if any(key in split_args for key in choices[0]) else choices)


def _default_if_train(parameters: Parameters, key: str, split: str) -> list[str]:
    """What the signature calls the training split, where that is unusual: 'train-standard' of Places365."""
    default = parameters.by_name[key].default
    return [default] if split == "train" and isinstance(default, str) and default.startswith("train") else []


def _check_is_map_style(name: str, dataset: Dataset) -> None:
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        raise UserError(
            f"dataset {name} is read from front to end (an IterableDataset, or without a length); "
            "this template needs samples by index: give it __len__ and __getitem__"
        )


def build_transforms(components: list[ComponentConfig]) -> Callable | None:
    """The transforms of one sample in a row; None when there are none."""
    if not components:
        return None
    steps = [TRANSFORMS.build(component.type, component.args) for component in components]
    if len(steps) == 1:
        return steps[0]
    from torchvision.transforms.v2 import Compose

    return Compose(steps)


def build_batch_transforms(components: list[ComponentConfig]) -> nn.Module:
    """The transforms of a batch, float (N, C, H, W) on the device, in a row."""
    return nn.Sequential(*(BATCH_TRANSFORMS.build(component.type, component.args) for component in components))
