"""Large arrays a block at a time."""

import numpy

from utils.blocks import ROWS_A_BLOCK, in_blocks_of, num_copies


def test_chosen_rows_come_in_full_blocks_and_rising():
    """Sums over blocks depend on where these begin: it is the same as of a list of the chosen rows."""
    generator = numpy.random.default_rng(0)
    for share in (0.0, 0.001, 0.5, 0.81, 1.0):
        is_chosen = generator.random(5 * ROWS_A_BLOCK + 17) < share
        places = is_chosen.nonzero()[0]
        blocks = list(in_blocks_of(is_chosen))
        assert [len(block) for block in blocks[:-1]] == [ROWS_A_BLOCK] * (len(blocks) - 1)
        assert len(blocks) == -(-len(places) // ROWS_A_BLOCK)
        assert numpy.array_equal(numpy.concatenate([places[:0], *blocks]), places)


def test_copies_are_counted_once_each():
    keys = numpy.random.default_rng(0).integers(0, 50_000, 40_000, dtype=numpy.uint64)
    assert num_copies(keys) == len(keys) - len(set(keys.tolist())) > 0
    assert num_copies(numpy.arange(20_000, dtype=numpy.uint64)) == num_copies(keys[:0]) == 0
    assert num_copies(numpy.full(20_000, 7, numpy.uint64)) == 19_999
