"""Which files are copies of others, without reading more than that takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy

PROBED = 4096  # bytes in the middle of a file: those of other files of its size are hardly ever the same


def content_numbers(files: Sequence[Path]) -> numpy.ndarray:
    """A number for each file, int64 (N,), equal for those with the same content; one that cannot be read is like none."""
    alike: dict[object, list[int]] = {}
    for number, file in enumerate(files):
        alike.setdefault(_size_of(file), []).append(number)
    ...
