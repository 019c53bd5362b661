"""Which sounds lie in a folder, to which part and class they belong, and what rate and length they have."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from data_loader.picture_folders import composed, shown
from data_loader.picture_parts import Place, divided, found_by
from data_loader.sounds import ENDINGS, info_of
from data_loader.splitting import SPLITS
from utils.errors import UserError


class Sounds(NamedTuple):
    """The sounds below a folder, sorted. files: relative to it, with /; names: the same as every system writes them."""

    files: list[str]
    names: list[str]
    labels: list[str]
    notes: list[str]

    def numbers(self, folder: Path, classes: Sequence[str]) -> list[int]:
        """The class of each by number. UserError for a label that is none of the classes."""
        known = {name: number for number, name in enumerate(classes)}
        if unknown := sorted(set(self.labels) - known.keys()):
            raise UserError(
                f"'{folder}' has sounds of classes that are none of the {len(classes)} trained on: {shown(unknown)}\n"
                f"The classes: {shown(classes)}"
            )
        return [known[label] for label in self.labels]


def find_sounds(folder: Path, label: str | None) -> Sounds:
    """The sounds below a folder with their classes. UserError where there are none."""
    found, others = [], []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name).relative_to(folder).as_posix()
            is_sound = path.lower().endswith(ENDINGS) and (label is not None or "/" in path)
            if not name.startswith("."):
                (found if is_sound else others).append(path)
    found.sort(key=composed)
    names = [composed(file) for file in found]
    if not found:
        expected = "FILE.wav" if label else "CLASS/FILE.wav"
        raise UserError(f"'{folder}': no sounds; expected as {folder}/{expected} (they end in {' '.join(ENDINGS)})")
    labels = [name.split("/")[0] for name in names] if label is None else found_by(label, names, "label")
    notes = [f"'{folder}': left out, {len(others)} other files: {shown(sorted(others))}"] if others else []
    return Sounds(found, names, labels, notes)


def divided_sounds(
    place: Place, names: list[str], targets: Tensor, group: str | None, test_files: str | None, seed: int
) -> tuple[dict[str, Tensor], list[str] | None]:
    """The indices of the sounds in each split, and their groups; see picture_parts.divided."""
    if test_files is None:
        return divided(place, names, targets, group, seed)
    if place.splits != SPLITS:
        raise UserError(
            f"dataset SoundFolder: test_files divides a folder, but '{place.root}' has folders of its parts"
        )
    is_test = torch.tensor([re.search(test_files, name) is not None for name in names])
    if not is_test.any() or is_test.all():
        raise UserError(
            f"dataset.args.test_files: '{test_files}' is found in {'all' if is_test.all() else 'none'} of {len(names)} "
            f"paths: {shown(names)}"
        )
    rest = (~is_test).nonzero()[:, 0]
    parts, _ = divided(place, [names[index] for index in rest.tolist()], targets[rest], group, seed)
    groups = None if group is None else found_by(group, names)
    return {"train": rest[parts["train"]], "valid": rest[parts["valid"]], "test": is_test.nonzero()[:, 0]}, groups


def rate_and_length(
    sample_rate: int | None,
    seconds: float | None,
    folder: Path,
    files: Sequence[str],
    preprocessing: dict[str, Any] | None,
) -> tuple[int, int]:
    """Sample rate and length in samples: as a checkpoint has them, as asked for, or of the files of the training."""
    if preprocessing is not None:
        rate, length = preprocessing["sample_rate"], preprocessing["length"]
        if sample_rate not in (None, rate) or (seconds is not None and round(seconds * rate) != length):
            raise UserError(
                f"dataset SoundFolder: the model was trained on {length / rate:g} s at {rate:,} Hz: leave sample_rate "
                "and seconds as they were"
            )
        return rate, length
    if sample_rate is not None and seconds is not None:
        return sample_rate, max(1, round(seconds * sample_rate))
    infos = [info_of(folder / file) for file in files]
    rates = Counter(info.sample_rate for info in infos)
    if sample_rate is None and len(rates) > 1:
        told = ", ".join(f"{rate:,} Hz ({count:,} files)" for rate, count in rates.most_common())
        raise UserError(f"dataset SoundFolder: several sample rates: {told}; set dataset.args.sample_rate to one")
    rate = sample_rate or next(iter(rates))
    if seconds is not None:
        return rate, max(1, round(seconds * rate))
    return rate, max(math.ceil(info.length * rate / info.sample_rate) for info in infos)
