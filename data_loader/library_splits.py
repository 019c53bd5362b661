"""How the datasets of torchvision say which split they give: `train=True`, `split="val"`, `image_set="trainval"`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import Dataset

from base import DATASETS
from base.signature import Parameters, parameters_of
from config.schema import DatasetConfig, FoldConfig
from data_loader.splitting import SPLITS
from utils.errors import UserError

# What the splits are called, in the order in which the names are tried.
SPLIT_NAMES = {"train": ("train", "trainval"), "valid": ("val", "valid", "validation"), "test": ("test",)}


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


def part_to_evaluate(config: DatasetConfig, fold: FoldConfig | None, has_validation: bool) -> str:
    """The part that test.py is to be told of: the test part, where there is one."""
    if fold is not None or has_split(config, "test"):
        return "test"
    return "valid" if has_validation else "train"


def split_choices(config: DatasetConfig, split: str) -> Iterator[dict[str, Any]]:
    """The arguments, one set after another, that may make the dataset give this split."""
    parameters = parameters_of(DATASETS.find(config.type))
    if DATASETS.is_own(config.type) and "split" in parameters.by_name:
        choices = [{"split": split}]
    elif "train" in parameters.by_name:  # EMNIST has both: its `split` is something else
        choices = [{"train": split == "train"}]
    elif "split" in parameters.by_name or "image_set" in parameters.by_name:
        key = "split" if "split" in parameters.by_name else "image_set"
        names = [*SPLIT_NAMES[split], *_default_if_train(parameters, key, split)]
        choices = [{key: choice} for choice in names]
    else:
        choices = [{}]
    yield from ([{}] if any(key in getattr(config.split_args, split) for key in choices[0]) else choices)


def _default_if_train(parameters: Parameters, key: str, split: str) -> list[str]:
    """What the signature calls the training split, where that is unusual: 'train-standard' of Places365."""
    default = parameters.by_name[key].default
    return [default] if split == "train" and isinstance(default, str) and default.startswith("train") else []


def build_library_dataset(name: str, args: Mapping[str, Any], split: str, choices: Iterator[dict[str, Any]]) -> Dataset:
    """The dataset with the first of the choices that it takes. UserError when there is none, or it is not to be had."""
    for choice in choices:
        try:
            return DATASETS.build(name, args, **choice)
        except (UserError, RuntimeError, OSError, ImportError) as error:
            message = str(error).removeprefix(prefix := f"dataset {name}: ")  # which Registry.build has added
            is_tried = "split" in choice or "image_set" in choice
            if not is_tried or "Unknown value" not in message:  # torchvision's words for a split that is not there
                message = message.replace("download=True", "dataset.args.download=true")
                raise UserError(prefix + message) from error
            last_error = error
    raise UserError(
        f"dataset {name} has no split that could serve as '{split}' ({message}); "
        f"say which in dataset.split_args.{split}"
    ) from last_error
