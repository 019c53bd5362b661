"""Which folder of class folders holds which parts, and how one that holds several is divided."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from data_loader.folds import Fold
from data_loader.picture_folders import loose_files, part_folders, shown
from data_loader.splitting import SPLITS, Amount, Share, divide
from utils.errors import UserError

DEFAULT_SHARE = 0.1  # of the validation and of the test part


class Place(NamedTuple):
    """Where the files of a split lie."""

    root: Path
    folder: Path
    training: Path  # the folder whose class folders are the classes
    splits: tuple[str, ...]  # those that `folder` is divided into
    valid: float | int = 0
    test: Share = 0
    notes: tuple[str, ...] = ()
    beside: Path | None = None  # the folder of the test part, where this is another


def locate(
    root: Path, split: str, valid: Amount | None, test: Amount | None, *, has_classes: bool, has_fold: bool = False
) -> Place:
    """The folder of class folders that holds a split. valid, test: how much of an undivided folder they take.

    has_classes: the classes are known already, as for a checkpoint, so that a part does without train/. has_fold: the
    test part is taken of the training pictures, and not test/. UserError where a split is not to be had, or an amount
    is given of what has a folder.
    """
    if has_fold:
        split = "train" if split == "test" else split
    if not root.is_dir():
        raise UserError(f"dataset.args.root: no such folder: '{root}'")
    folders = part_folders(root)
    shares = [DEFAULT_SHARE if amount is None else amount for amount in (valid, test)]
    if not folders:
        return Place(root, root, root, SPLITS, *shares)
    if "train" not in folders and not (has_classes and split in folders):
        raise UserError(
            f"'{root}' has {next(iter(folders.values())).name}/ but no train/: put the files to train on there, or "
            "give that folder another name if it is a class"
        )
    if test:
        raise UserError(
            f"dataset.args.test_fraction: found {test}, but '{root}' is divided into folders, and its test part is "
            f"{folders['test'].name if 'test' in folders else 'test'}/: leave test_fraction out"
        )
    if valid and "valid" in folders:
        raise UserError(
            f"dataset.args.valid_fraction (or data_loader.validation_split): found {valid}, but '{root}' has a "
            f"validation part of its own, {folders['valid'].name}/: leave the one out, or take the other away"
        )
    if split not in folders and split == "test":
        raise UserError(f"'{root}' has a folder train/ but no test/: put the files to test on there")
    notes = loose_files(root)
    if "test" not in folders and not has_fold:
        notes.append(f"'{root}' has no test/: there is nothing to test on")
    training = folders.get("train", root)
    beside = None if split == "test" or has_fold else folders.get("test")
    if split == "test" or "valid" in folders:
        return Place(root, folders[split], training, (split,), notes=tuple(notes), beside=beside)
    return Place(root, training, training, ("train", "valid"), shares[0], notes=tuple(notes), beside=beside)


def divided(
    place: Place, names: list[str], targets: Tensor, group: str | None, seed: int, fold: Fold | None = None
) -> tuple[dict[str, Tensor], list[str] | None]:
    """The indices of the files in each split of a place; and, with a `group`, what it gives for each file.

    fold: of the training files, the test part.
    """
    groups = None
    if group is not None:
        below_root = "" if place.folder == place.root else f"{place.folder.name}/"
        groups = found_by(group, [below_root + name for name in names])
    if fold is not None and "train" in place.splits:
        is_test = fold.members(len(names), targets, groups)
        place = place._replace(splits=tuple(dict.fromkeys((*place.splits, "test"))), test=is_test)
    if len(place.splits) == 1:
        return {place.splits[0]: torch.arange(len(names))}, groups
    parts = divide(names if groups is None else groups, place.valid, place.test, seed, targets)
    return {split: parts[split] for split in place.splits}, groups


def found_by(expression: str, paths: list[str], key: str = "group") -> list[str]:
    """What the one group of a regular expression gives for each path. UserError where it is none, or gives nothing.

    key: the argument of the dataset that the expression was given as.
    """
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise UserError(f"dataset.args.{key}: '{expression}' is no regular expression: {error}") from error
    if pattern.groups != 1:
        raise UserError(
            f"dataset.args.{key}: '{expression}' has {pattern.groups} groups in parentheses; expected one, around what "
            "files of one group have in common, such as 'patient(\\d+)'; (?:...) is not counted"
        )
    matches = [pattern.search(path) for path in paths]
    groups = [None if match is None else match[1] for match in matches]
    if missing := [path for path, group in zip(paths, groups, strict=True) if group is None]:
        raise UserError(
            f"dataset.args.{key}: '{expression}' is not found in {len(missing)} of {len(paths)} paths: {shown(missing)}"
        )
    return groups
