"""Large arrays, a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

ROWS_A_BLOCK = 8192


def in_blocks(num_rows: int) -> Iterator[slice]:
    """Slices one after the other: what is computed of one takes no memory to speak of, and stays in the cache."""
    for first in range(0, num_rows, ROWS_A_BLOCK):
        yield slice(first, min(first + ROWS_A_BLOCK, num_rows))
