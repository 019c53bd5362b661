"""Large arrays, a few thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy

ROWS_A_BLOCK = 8192


def in_blocks(num_rows: int) -> Iterator[slice]:
    """Slices one after the other: what is computed of one takes no memory to speak of, and stays in the cache."""
    for first in range(0, num_rows, ROWS_A_BLOCK):
        yield slice(first, min(first + ROWS_A_BLOCK, num_rows))


def in_blocks_of(is_chosen: numpy.ndarray) -> Iterator[numpy.ndarray]:
    """The same of the rows that are chosen, bool (rows,): their places, int64, of which all together take much."""
    places = numpy.empty(0, numpy.int64)
    for some in in_blocks(len(is_chosen)):
        places = numpy.append(places, is_chosen[some].nonzero()[0] + some.start)
        if len(places) >= ROWS_A_BLOCK:
            yield places[:ROWS_A_BLOCK]
            places = places[ROWS_A_BLOCK:]
    if len(places):
        yield places
