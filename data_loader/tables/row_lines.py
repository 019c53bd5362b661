"""On which line of its file each row of a table begins."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy


class RowLines:
    """The line of each row, in blocks: a range where each row is one line, so that a large table takes no memory."""

    def __init__(self):
        self._blocks: list[range | numpy.ndarray] = []
        self._firsts: list[int] = []  # rows
        self._num_rows = 0

    def append(self, lines: Sequence[int]) -> None:
        """Those of further rows."""
        self._blocks.append(lines if isinstance(lines, range) else numpy.asarray(lines, numpy.int32))
        self._firsts.append(self._num_rows)
        self._num_rows += len(lines)

    def __len__(self) -> int:
        return self._num_rows

    def __getitem__(self, row: int) -> int:
        block = bisect_right(self._firsts, row) - 1
        return int(self._blocks[block][row - self._firsts[block]])

    def of(self, rows: Sequence[int]) -> list[int]:
        return [self[row] for row in rows]
