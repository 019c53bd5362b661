"""Recordings in one folder a class, or with the class in their names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from base import DATASETS, Count
from data_loader.class_folders import FileKind, shown
from data_loader.folder_parts import Division, find_part
from data_loader.folds import Fold
from data_loader.sounds.decoding import ENDINGS, fitted, info_of, read_sound, sound_of, told_of_longer
from data_loader.splitting import Amount
from utils.errors import UserError

OTHER_ENDINGS = {".aac", ".amr", ".ape", ".caf", ".m4a", ".mp4", ".opus", ".webm", ".wma", ".wv"}
SOUNDS = FileKind("sounds", ENDINGS, ENDINGS.__contains__, OTHER_ENDINGS, "save them as WAV or FLAC")
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
    in_memory: decode all at the start. preprocessing: what was fitted on a training part; nothing is fitted then.
    test_fold: the test part, in place of others.
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
        test_fold: Fold | None = None,
    ):
        if test_files is not None and test_fraction:
            raise UserError("dataset SoundFolder: test_files and test_fraction both give the test part: give one")
        dividing = {"valid_fraction": valid_fraction, "test_fraction": test_fraction, "split_seed": split_seed}
        dividing |= {"label": label, "group": group, "test_files": test_files, "test_fold": test_fold}
        if preprocessing is None and split != "train":
            of_training = SoundFolder(
                *("train", root, label, group, test_files, sample_rate, seconds, False),
                *(valid_fraction, test_fraction, split_seed, None, test_fold),
            )
            preprocessing = of_training.preprocessing
        division = Division(valid_fraction, test_fold or test_fraction, split_seed, group, test_files, label)
        part = find_part(SOUNDS, split, root, division, preprocessing and preprocessing["classes"])
        self.root, self.classes, self.files, self.names = part.folder, part.found.classes, part.files, part.names
        self.targets, self.groups, self.part_sizes, self.notes = part.targets, part.groups, part.sizes, part.notes
        paths = [self.root / file for file in self.files]
        if preprocessing is None:
            self.sample_rate, self.length = _fitted_length(sample_rate, seconds, paths)
        else:
            self.sample_rate, self.length = _trained_length(sample_rate, seconds, preprocessing)
        self.preprocessing = {"classes": self.classes, "sample_rate": self.sample_rate, "length": self.length}
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
        self.notes = told_of_longer("inputs", inputs, sample_rate, length)

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(fitted(sound_of(self.inputs[index], self.sample_rate), self.length))[None]


def _fitted_length(sample_rate: int | None, seconds: float | None, files: Sequence[Path]) -> tuple[int, int]:
    """Sample rate and length in samples, as asked for or, where that is null, of the files of the training part."""
    if sample_rate is not None and seconds is not None:
        return sample_rate, max(1, round(seconds * sample_rate))
    infos = []
    for file in files:
        with suppress(OSError):  # whoever reads it tells
            infos.append(info_of(file))
    if not infos:
        found = f"none of the {len(files)} sounds to train on can be read: {shown(map(str, files))}"
        raise UserError(f"dataset SoundFolder: {found}")
    rates = Counter(info.sample_rate for info in infos)
    if sample_rate is None and len(rates) > 1:
        told = ", ".join(f"{rate:,} Hz ({count:,} files)" for rate, count in rates.most_common())
        raise UserError(f"dataset SoundFolder: several sample rates: {told}; set dataset.args.sample_rate to one")
    rate = sample_rate or next(iter(rates))
    if seconds is not None:
        return rate, max(1, round(seconds * rate))
    return rate, max(math.ceil(info.length * rate / info.sample_rate) for info in infos)


def _trained_length(sample_rate: int | None, seconds: float | None, preprocessing: dict[str, Any]) -> tuple[int, int]:
    """Sample rate and length in samples of a checkpoint. UserError where others are asked for."""
    rate, length = preprocessing["sample_rate"], preprocessing["length"]
    if sample_rate not in (None, rate) or (seconds is not None and round(seconds * rate) != length):
        raise UserError(
            f"dataset SoundFolder: the model was trained on {length / rate:g} s at {rate:,} Hz: leave sample_rate and "
            "seconds as they were"
        )
    return rate, length
