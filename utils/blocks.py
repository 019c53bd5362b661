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
    """The places, int64, of the rows that are chosen, bool (rows,), as many at a time."""
    places = numpy.empty(0, numpy.int64)
    for some in in_blocks(len(is_chosen)):
        places = numpy.append(places, is_chosen[some].nonzero()[0] + some.start)
        if len(places) >= ROWS_A_BLOCK:
            yield places[:ROWS_A_BLOCK]
            places = places[ROWS_A_BLOCK:]
    if len(places):
        yield places


def num_copies(keys: numpy.ndarray) -> int:
    """How many keys, uint64 (N,), are one of the others again. A sixteenth of them is sorted at a time."""
    sixteenths = numpy.empty(len(keys), numpy.uint8)
    for some in in_blocks(len(keys)):
        sixteenths[some] = keys[some] % 16
    copies = 0
    for number in range(16):
        rising = numpy.sort(keys[sixteenths == number])
        copies += numpy.count_nonzero(rising[1:] == rising[:-1])
    return copies
