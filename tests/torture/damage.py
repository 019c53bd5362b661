"""A newest checkpoint that is not what was written."""

import logging
import random
import shutil
from collections.abc import Callable
from logging.handlers import BufferingHandler
from pathlib import Path

from tests.torture.harness import Tally, run_folder, uninterrupted
from tests.torture.stop import EVERY_EPOCH, stopped_after
from utils.checkpoint_folder import CheckpointFolder

PAGE = 4096
NUM_RESUMED = 5  # of each kind, that train.py goes on from


def damage(folder: Path, count: int, seed: int = 0) -> Tally:
    """`count` of each kind."""
    tally, choose = Tally(), random.Random(seed)
    expected = uninterrupted(folder / "untouched", EVERY_EPOCH)
    stopped_after(10, folder / "stopped", EVERY_EPOCH)
    logger = logging.getLogger("utils.checkpoint_folder")
    for kind, spoilt in KINDS.items():
        for number in range(count):
            case = folder / f"{kind}-{number}".replace(" ", "-")
            shutil.copytree(folder / "stopped", case, symlinks=True)
            checkpoints = CheckpointFolder(run_folder(case) / "checkpoints")
            newest, previous = list(checkpoints.steps().values())[:2]
            newest.write_bytes(spoilt(newest.read_bytes(), choose))
            warnings = BufferingHandler(100)
            logger.addHandler(warnings)
            found = checkpoints.newest()
            logger.removeHandler(warnings)  # a resumed run has handlers of its own
            told = " ".join(record.getMessage() for record in warnings.buffer)
            is_right = found is not None and found[0] == previous and newest.name in told
            tally.check(is_right, f"{kind} {number}: {found and found[0]}, {told}", kind)
            if number < min(NUM_RESUMED, count):
                without = ("data_loader.num_workers=0", EVERY_EPOCH)
                go_on = tally.check_goes_on(expected, case, f"{kind} {number}", *without, right="resumed")
                tally.check(newest.name in go_on.output(), f"{kind} {number}: no warning")
            shutil.rmtree(case)
    return tally


def flip_bit(data: bytes, choose: random.Random) -> bytes:
    flipped = bytearray(data)
    flipped[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    return bytes(flipped)


def zero_page(data: bytes, choose: random.Random) -> bytes:
    """A page of zeros, where there were not only zeros before."""
    start = choose.choice([i for i in range(0, len(data), PAGE) if data[i : i + PAGE].strip(b"\0")])
    return data[:start] + bytes(len(data[start : start + PAGE])) + data[start + PAGE :]


KINDS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bit flipped": flip_bit,
    "truncated": lambda data, choose: data[: choose.randrange(1, len(data))],
    "page zeroed": zero_page,
    "empty": lambda data, choose: b"",
}
