"""Recordings in one folder a class, or with the class in their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from base import DATASETS, Count
from data_loader.in_memory import class_targets
from data_loader.picture_folders import shown
from data_loader.picture_parts import locate
from data_loader.sound_files import divided_sounds, find_sounds, rate_and_length
from data_loader.sounds import ENDINGS, fitted, read_sound, sound_of, told_of_longer
from data_loader.splitting import Amount
from utils.errors import UserError

Seconds = Annotated[float, Field(gt=0)]


@DATASETS.register
class SoundFolder(Dataset):
    """Recordings of one length and rate: inputs float32 (1, T) from -1 to 1, targets the numbers of the sorted classes.

    root: holds CLASS/FILE.wav, or train/, valid/ and test/ with such folders in them; divided as ImageFolder's root.
    label: where there are no class folders, a regular expression with one group in parentheses, searched for in each
        path: the class, such as '^(\\d)_' of 7_anna_12.wav. group: likewise; recordings for which it gives the same,
        such as a speaker, stay in one part. test_files: those in whose paths it is found are the test part.
    sample_rate: in Hz; null: that of the training part, where all have one. seconds: a longer recording loses its end,
        a shorter one is followed by silence; null: the longest of the training part. Of several channels the mean.
    in_memory: decode all at the start.
    """

    draws_random_numbers = False
    input_endings = ENDINGS

    def __init__(
        self,
        split: str,
        root: str,
        label: str | None = None,
        group: str | None = None,
        test_files: str | None = None,
        sample_rate: Count | None = None,
        seconds: Seconds | None = None,
        in_memory: bool = True,
        valid_fraction: Amount | None = None,
        test_fraction: Amount | None = None,
        split_seed: int = 0,
        preprocessing: dict[str, Any] | None = None,
    ):
        if test_files is not None and test_fraction:
            raise UserError("dataset SoundFolder: test_files and test_fraction both give the test part: give one")
        test_share = test_fraction if test_files is None else 0
        place = locate(Path(root).expanduser(), split, valid_fraction, test_share, has_classes=bool(preprocessing))
        found = find_sounds(place.folder, label)
        training = found if place.folder == place.training else find_sounds(place.training, label)
        self.classes: list[str] = preprocessing["classes"] if preprocessing else sorted(set(training.labels))
        targets = class_targets(found.numbers(place.folder, self.classes))

        parts, groups = divided_sounds(place, found.names, targets, group, test_files, split_seed)
        self.part_sizes = {name: len(members) for name, members in parts.items()}
        part = parts[split].tolist()
        self.root, self.targets = place.folder, targets[parts[split]]
        self.files, self.names = ([texts[index] for index in part] for texts in (found.files, found.names))
        self.groups = groups and [groups[index] for index in part]
        self.notes = [*place.notes, *found.notes]

        of_training = (
            [training.files[index] for index in parts["train"].tolist()] if "train" in parts else training.files
        )
        self.sample_rate, self.length = rate_and_length(
            sample_rate, seconds, place.training, of_training, preprocessing
        )
        self.preprocessing = {"classes": self.classes, "sample_rate": self.sample_rate, "length": self.length}
        paths = [self.root / file for file in self.files]
        self.notes += told_of_longer(f"'{self.root}'", paths, self.sample_rate, self.length)
        self._sounds = self._read_all() if in_memory else None

    @classmethod
    def for_inputs(cls, inputs: Sequence[Any], preprocessing: dict[str, Any]) -> Dataset:
        """Recordings without targets: paths, or arrays and tensors (T,) at the rate of the training."""
        return SoundInputs(inputs, preprocessing["sample_rate"], preprocessing["length"])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if self._sounds is not None:
            return self._sounds[index], self.targets[index]
        samples = read_sound(self.root / self.files[index], self.sample_rate)
        return torch.from_numpy(fitted(samples, self.length))[None], self.targets[index]

    @property
    def __getitems__(self) -> Callable[[Tensor], tuple[Tensor, Tensor]] | None:
        """What takes a whole batch by index; None where sounds are read one by one."""
        return None if self._sounds is None else self._take_batch

    def _take_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        return self._sounds.index_select(0, indices), self.targets.index_select(0, indices)

    def as_tensors(self) -> tuple[Tensor, Tensor] | None:
        """Sounds and targets, where they are in memory."""
        return None if self._sounds is None else (self._sounds, self.targets)

    def name_of(self, index: int) -> str:
        return str(self.root / self.files[index])

    def _read_all(self) -> Tensor:
        """Float32 (N, 1, length). UserError with all that cannot be read."""
        sounds = torch.zeros(len(self.files), 1, self.length)
        wrong = []
        for index, file in enumerate(self.files):
            try:
                samples = read_sound(self.root / file, self.sample_rate)
            except OSError as error:
                wrong.append(str(error))
                continue
            sounds[index, 0] = torch.from_numpy(fitted(samples, self.length))
        if wrong:
            raise UserError(
                f"{len(wrong)} of {len(self.files)} sounds cannot be read: take them out, or leave them out with "
                f"dataset.args.in_memory=false and data_loader.skip_bad_samples: {shown(wrong)}"
            )
        return sounds


class SoundInputs(Dataset):
    """Sounds without targets, float32 (1, length), from files or from memory; see sounds.sound_of."""

    draws_random_numbers = False

    def __init__(self, inputs: Sequence[Any], sample_rate: int, length: int):
        self.inputs, self.sample_rate, self.length = inputs, sample_rate, length
        files = (Path(each) for each in inputs if isinstance(each, (str, Path)))
        self.notes = told_of_longer("inputs", files, sample_rate, length)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(fitted(sound_of(self.inputs[index], self.sample_rate), self.length))[None]
