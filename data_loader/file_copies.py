"""Which files are copies of others, without reading more than that takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import blake2b, file_digest
from pathlib import Path
from zlib import crc32

import numpy

PROBED = 4096  # bytes in the middle of a file: those of other files of its size are hardly ever the same


def content_numbers(files: Sequence[Path]) -> numpy.ndarray:
    """A number for each file, int64 (N,), the same for the same content. One that cannot be read is like no other."""
    groups: list[Sequence[int]] = [range(len(files))]
    for read in (_size, _middle, _digest):
        groups = [alike for group in groups for alike in _alike(files, group, read)]
    numbers = numpy.arange(len(files))
    for group in groups:
        numbers[group] = group[0]
    return numbers


def _alike(files: Sequence[Path], group: Sequence[int], read: Callable[[Path], object]) -> list[list[int]]:
    """Of some files, by their numbers, those for which the same is read; without those that are alone in it."""
    found: dict[object, list[int]] = {}
    for number in group:
        with suppress(OSError):
            found.setdefault(read(files[number]), []).append(number)
    return [alike for alike in found.values() if len(alike) > 1]


def _size(file: Path) -> int:
    return file.stat().st_size


def _middle(file: Path) -> int:
    with open(file, "rb") as opened:
        opened.seek(_size(file) // 2)
        return crc32(opened.read(PROBED))


def _digest(file: Path) -> bytes:
    with open(file, "rb") as opened:
        return file_digest(opened, blake2b).digest()
