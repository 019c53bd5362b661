"""A newest checkpoint that is not what was written."""

from __future__ import annotations

import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.torture.harness import Tally, run_folder, start, uninterrupted
from tests.torture.stop import EVERY_EPOCH, stop_after
from utils.checkpoint_folder import CheckpointFolder

PAGE = 4096
NUM_RESUMED = 5  # of each kind, that train.py goes on from


def damage(folder: Path, count: int, seed: int = 0) -> Tally:
    """`count` of each kind."""
    tally, choose = Tally(), random.Random(seed)
    expected = uninterrupted(folder / "untouched", EVERY_EPOCH)
    start(folder / "stopped", EVERY_EPOCH, prepare=lambda: stop_after(10, os.getpid())).wait()
    for kind, spoil in KINDS.items():
        for number in range(count):
            case = folder / f"{kind}-{number}".replace(" ", "-")
            shutil.copytree(folder / "stopped", case, symlinks=True)
            checkpoints = CheckpointFolder(run_folder(case) / "checkpoints")
            newest, previous = list(checkpoints.steps().values())[:2]
            spoil(newest, choose)
            with Warnings() as warnings:
                found = checkpoints.newest()
            is_right = found is not None and found[0] == previous and newest.name in " ".join(warnings.texts)
            tally.check(is_right, f"{kind} {number}: {found and found[0]}, {warnings.texts}", kind)
            if number < min(NUM_RESUMED, count):
                go_on = tally.check_goes_on(expected, case, f"{kind} {number}", EVERY_EPOCH, right="resumed")
                tally.check(newest.name in go_on.output(), f"{kind} {number}: no warning")
            shutil.rmtree(case)
    return tally


class Warnings(logging.Handler):
    def __init__(self):
        super().__init__()
        self.texts: list[str] = []

    def __enter__(self) -> Warnings:
        logging.getLogger("utils.checkpoint_folder").addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("utils.checkpoint_folder").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def flip_bit(path: Path, choose: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[choose.randrange(len(data))] ^= 1 << choose.randrange(8)
    path.write_bytes(data)


def truncate(path: Path, choose: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: choose.randrange(1, path.stat().st_size)])


def zero_page(path: Path, choose: random.Random) -> None:
    """A page of zeros, where there were not only zeros before."""
    data = path.read_bytes()
    pages = [i for i in range(0, len(data), PAGE) if data[i : i + PAGE].strip(b"\0")]
    start = choose.choice(pages)
    page = data[start : start + PAGE]
    path.write_bytes(data[:start] + bytes(len(page)) + data[start + PAGE :])


def empty(path: Path, choose: random.Random) -> None:
    path.write_bytes(b"")


KINDS: dict[str, Callable[[Path, random.Random], None]] = {
    "bit flipped": flip_bit,
    "truncated": truncate,
    "page zeroed": zero_page,
    "empty": empty,
}
