"""Which folder of class folders holds which parts, how one of several is divided, and which files a part has."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from torch import Tensor

from data_loader.class_folders import (
    FileKind,
    Files,
    class_folders,
    compiled,
    count_files,
    find_files,
    find_labelled,
    found_by,
    loose_files,
    part_folders,
    shown,
)
from data_loader.file_copies import content_numbers
from data_loader.folds import Fold
from data_loader.in_memory import class_targets
from data_loader.part_notes import copies_of_training, told_of_share
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


class Division(NamedTuple):
    """How a folder is divided. valid, test: how much these parts take; a fold: of the files to train on.

    group: the regular expression by which files stay together; test_files: the one for the test part; label: the one
    for the class of a file, where there are no class folders.
    """

    valid: Amount | None
    test: Amount | Fold | None
    seed: int
    group: str | None = None
    test_files: str | None = None
    label: str | None = None


class FolderPart(NamedTuple):
    """The files of one part. files, names: as in `Files`; targets: class numbers (N,); sizes: of all parts."""

    folder: Path
    found: Files  # all those in `folder`, of which the part has
    chosen: Tensor  # these, int64 and rising
    targets: Tensor
    groups: list[str] | None
    sizes: dict[str, int]
    notes: list[str]

    @property
    def files(self) -> list[str]:
        return [self.found.files[index] for index in self.chosen.tolist()]

    @property
    def names(self) -> list[str]:
        return [self.found.names[index] for index in self.chosen.tolist()]


def find_part(kind: FileKind, split: str, root: str, division: Division, classes: list[str] | None) -> FolderPart:
    """The files of a split below `root`. UserError where they are not to be had, or do not lie as they should.

    classes: of a checkpoint; None: those of the training part.
    """
    label, group = division.label, division.group
    place = _locate(Path(root).expanduser(), kind, split, division, has_classes=classes is not None)
    if label is not None:
        found = find_labelled(place.folder, kind, label, classes)
    else:
        may_lack = classes is not None or place.folder != place.training
        found = find_files(place.folder, kind, classes or [*class_folders(place.training)], may_lack=may_lack)
    if division.test_files is not None:
        place = place._replace(test=_is_test_file(division.test_files, place, found.names))
    targets, groups = class_targets(found.targets), None
    if group is not None:
        below_root = "" if place.folder == place.root else f"{place.folder.name}/"
        key = "group (or data_loader.fold.group)" if isinstance(division.test, Fold) else "group"
        groups = found_by(group, [below_root + name for name in found.names], key)
        if division.test_files is not None:
            _check_test_groups(groups, place.test)
    parts = {place.splits[0]: torch.arange(len(found.names))}
    if len(place.splits) > 1:
        parts = divide(found.names, place.valid, place.test, division.seed, targets, groups)
    chosen = parts[split]
    sizes = {name: len(parts[name]) for name in place.splits}
    if place.beside and split == "train":  # to be told at the start of a run
        sizes["test"] = count_files(place.beside, kind, has_class_folders=label is None)
    notes = [*place.notes, *found.notes, *told_of_share(sizes, place.valid)]
    is_looked_into = isinstance(place.test, Fold) or kind.name != "pictures"  # of which there may be millions
    if is_looked_into and len(parts) > 1 and split != "valid":
        numbers = content_numbers([place.folder / file for file in found.files])
        notes += copies_of_training(numbers, parts, kind.name)
    if len(found.classes) == 1:
        notes.append(f"'{place.training}': one class only, {found.classes[0]}")
    of_part = groups and [groups[index] for index in chosen.tolist()]
    return FolderPart(place.folder, found, chosen, targets[chosen], of_part, sizes, notes)


def _locate(root: Path, kind: FileKind, split: str, division: Division, *, has_classes: bool) -> Place:
    """The folder that holds a split. UserError where there is none, or an amount is given of what has a folder.

    has_classes: the classes are known already, as for a checkpoint, so that a part does without train/. With a fold,
    test/ stays aside.
    """
    valid, test = division.valid, division.test
    if not root.is_dir():
        raise UserError(f"dataset.args.root: no such folder: '{root}'")
    folders = part_folders(root)
    shares = [DEFAULT_SHARE if amount is None else amount for amount in (valid, test)]
    if not folders:
        return Place(root, root, root, SPLITS, *shares)
    has_fold = isinstance(test, Fold)
    own = {name: folder for name, folder in folders.items() if not (has_fold and name == "test")}
    if "train" not in own and not (has_classes and split in own):
        raise UserError(
            f"'{root}' has {next(iter(folders.values())).name}/ but no train/: put the files to train on there, or "
            "give that folder another name if it is a class"
        )
    if test and not has_fold:
        raise UserError(
            f"dataset.args.test_fraction: found {test}, but '{root}' is divided into folders, and its test part is "
            f"{folders['test'].name if 'test' in folders else 'test'}/: leave test_fraction out"
        )
    if valid and "valid" in own:
        raise UserError(
            f"dataset.args.valid_fraction (or data_loader.validation_split): found {valid}, but '{root}' has a "
            f"validation part of its own, {own['valid'].name}/: leave the one out, or take the other away"
        )
    if split == "test" and not ("test" in own or has_fold):
        raise UserError(f"'{root}' has a folder train/ but no test/: put the files to test on there")
    notes = loose_files(root, kind)
    if not ("test" in own or has_fold):
        notes.append(f"'{root}' has no test/: there is nothing to test on")
    training, beside = folders.get("train", root), None if split == "test" else own.get("test")
    if split in own and split != "train":
        return Place(root, own[split], training, (split,), notes=tuple(notes), beside=beside)
    divided = ["train", *(["valid"] if "valid" not in own else []), *(["test"] if has_fold else [])]
    amounts = shares[0] if "valid" in divided else 0, test if has_fold else 0
    return Place(root, training, training, tuple(divided), *amounts, tuple(notes), beside)


def _is_test_file(expression: str, place: Place, names: list[str]) -> numpy.ndarray:
    """In which names the expression is found, bool (N,). UserError where that is all or none, or parts have folders."""
    if place.splits != SPLITS:
        raise UserError(f"dataset.args.test_files divides a folder, but '{place.root}' has folders of its parts")
    pattern = compiled(expression, "test_files")
    is_test = numpy.array([pattern.search(name) is not None for name in names])
    if not is_test.any() or is_test.all():
        of = f"{'all' if is_test.all() else 'none'} of {len(names)} paths: {shown(names)}"
        raise UserError(f"dataset.args.test_files: '{expression}' is found in {of}")
    return is_test


def _check_test_groups(groups: list[str], is_test: numpy.ndarray) -> None:
    """UserError where `test_files` takes some files of a group, and leaves others to be trained on."""
    of_test, of_others = ({group for group, of in zip(groups, is_test, strict=True) if of == part} for part in (1, 0))
    if both := sorted(of_test & of_others):
        raise UserError(
            f"dataset.args.test_files: it takes some files of a group, and not all: {shown(both)}. Files for which "
            "`group` gives the same stay in one part: name whole groups, or leave one of the two out"
        )
