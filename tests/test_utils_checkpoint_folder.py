"""Checkpoints of a run: none that matters is ever deleted, and no link ever points to nothing."""

import errno
import itertools
import logging
import os
import signal
from concurrent import futures
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from tests.forks import forked
from tests.gpu import GPU
from tests.process import python
from tests.test_utils_checkpoint import state
from tests.torture.disk import KILLED, fail_at
from utils.checkpoint import read_checkpoint
from utils.checkpoint_folder import CheckpointFolder
from utils.checkpoint_writer import CheckpointWriter
from utils.files import WriteError


def save(folder: CheckpointFolder, *steps: int, best: int = 0) -> None:
    for step in steps:
        folder.save(state(step=step), step, is_best=step == best)


def steps(folder: CheckpointFolder) -> list[int]:
    return sorted(folder.steps())


def linked(folder: CheckpointFolder, name: str) -> int:
    return read_checkpoint(folder.path / name)["step"]


# keep_last, the steps that are best, (the step gone on from, the steps saved then) of each run, the steps kept
KEPT = [
    (0, [], [(0, range(1, 10))], [9]), (1, [], [(0, range(1, 10))], [9]), (2, [], [(0, range(1, 10))], [8, 9]),
    (99, [], [(0, range(1, 10))], [*range(1, 10)]), (2, [], [(0, [9, 10, 10**9])], [10, 10**9]),
    (1, [2], [(0, [1, 2, 3, 4])], [2, 4]), (1, [2, 5], [(0, [1, 2, 3, 4, 5])], [5]),
    (1, [], [(0, [1]), (1, [2, 3])], [1, 3]),
    (1, [], [(0, [1]), (1, [2, 3]), (3, [4])], [3, 4]),  # no more pile up, however often it is stopped
    (2, [30], [(0, [10, 20, 30]), (20, [25])], [20, 25, 30]),  # from further back
]  # fmt: skip


@pytest.mark.parametrize(("keep_last", "best", "runs", "kept"), KEPT)
def test_the_last_the_best_and_the_one_resumed_from_are_kept(tmp_path, keep_last, best, runs, kept):
    for resumed_from, saved in runs:
        folder = CheckpointFolder(tmp_path / "checkpoints", keep_last)
        if resumed_from:
            folder.resume_from(folder.steps()[resumed_from])
            assert folder.newest()[1]["step"] == resumed_from
        for step in saved:
            for path in folder.steps().values():
                os.utime(path, (2e9, 2e9))  # what goes is told by step, never by the time of a file
            save(folder, step, best=step if step in best else 0)
    assert steps(folder) == kept and linked(folder, "last.pt") == folder.newest()[1]["step"] == saved[-1]
    links = {path.name: os.readlink(path) for path in folder.path.iterdir() if path.is_symlink()}
    assert links.pop("last.pt") == f"step-{saved[-1]:09d}.pt"
    assert links == ({"best.pt": f"step-{best[-1]:09d}.pt"} if best else {})


def test_resumed_from_another_folder(tmp_path):
    other, folder = CheckpointFolder(tmp_path / "other"), CheckpointFolder(tmp_path / "own")
    save(other, 7)
    folder.resume_from(other.path / "last.pt")
    save(folder, 8)
    assert steps(folder) == [8] and steps(other) == [7]


@pytest.mark.parametrize("damage", [b"", b"x" * 5000, "cut", "gone"])
def test_a_newest_that_is_damaged_or_gone_is_passed_over_and_links_are_mended(tmp_path, caplog, damage):
    folder = CheckpointFolder(tmp_path, keep_last=3)
    save(folder, 1, 2, 3, best=3)
    newest = folder.steps()[3]
    newest.write_bytes(damage if isinstance(damage, bytes) else newest.read_bytes()[:-1])
    if damage == "gone":
        newest.unlink()
    with caplog.at_level(logging.WARNING):
        path, found = folder.newest()
    assert found["step"] == 2 and path.name == "step-000000002.pt"
    assert damage == "gone" or ("step-000000003.pt is damaged" in caplog.text and len(caplog.records) == 1)
    assert folder.newest_intact("best") == path
    folder.resume_from(path)
    assert linked(folder, "last.pt") == 2 and linked(folder, "best.pt") == 2


def test_nothing_there(tmp_path):
    assert CheckpointFolder(tmp_path / "none").newest() is None
    assert CheckpointFolder(tmp_path / "none").newest_intact() is None
    (tmp_path / "step-000000001.pt").write_text("nothing")
    (tmp_path / "step-x.pt").write_text("another's")
    assert CheckpointFolder(tmp_path).newest() is None


def test_copied_folder_without_symbolic_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "symlink", Mock(side_effect=PermissionError(errno.EPERM, "so says the file system")))
    folder = CheckpointFolder(tmp_path, keep_last=1)
    save(folder, 1, 2, 3, best=1)
    assert steps(folder) == [1, 3] and linked(folder, "best.pt") == 1 and linked(folder, "last.pt") == 3
    assert not (tmp_path / "last.pt").is_symlink()


def fail_in_saves(root: Path, number: int) -> int:
    """Saves that fail at their first, second, ... operation: then the old state is there, or the new one."""
    for place in itertools.count(1):
        folder, note = CheckpointFolder(root / str(place), keep_last=1), root / "operations"
        save(folder, 1, 2, best=2)
        child = os.fork()
        if child == 0:
            fail_at(folder.path, place, number, note)
            try:
                save(folder, 3, best=3)
            except WriteError as error:
                os._exit(1 if os.strerror(number) in str(error) and not list(folder.path.glob(".*")) else 2)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        is_over = len(note.read_text().splitlines()) < place
        assert code == (0 if is_over else -signal.SIGKILL if number == KILLED else 1), (place, code)
        path, found = folder.newest()
        assert found["step"] in (2, 3) and linked(folder, "last.pt") in (2, 3)
        assert found["step"] <= linked(folder, "best.pt") <= 3  # each of them is the best when it is saved
        folder.resume_from(path)
        save(folder, 3, 4)
        assert linked(folder, "last.pt") == 4
        if is_over:
            return place - 1


def test_a_save_that_is_killed_or_fails_loses_nothing(tmp_path):
    code = """
import sys
from tests.test_utils_checkpoint_folder import *
for number in (KILLED, errno.ENOSPC, errno.EIO):
    assert fail_in_saves(Path(sys.argv[1]) / str(number), number) > 8
"""
    forked("-c", code, tmp_path)


# The writer beside the training.


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_background_saves(tmp_path, device):
    writer = CheckpointWriter(CheckpointFolder(tmp_path, keep_last=9))
    weight = torch.zeros(1_000_000, device=device)
    for step in range(1, 6):
        writer.save(state(model={"w": weight}, step=step), step, is_best=step == 3)
        assert writer.newest_step == step
        weight += 1  # training goes on while the copy is written
        writer.poll()
    writer.wait()
    for step, path in writer.folder.steps().items():
        assert torch.equal(read_checkpoint(path)["model"]["w"], torch.full((1_000_000,), step - 1.0))
    assert linked(writer.folder, "best.pt") == 3 and linked(writer.folder, "last.pt") == 5


def test_tied_weights_are_one_copy_and_its_memory_is_used_again(tmp_path):
    writer = CheckpointWriter(CheckpointFolder(tmp_path))
    weight = torch.randn(100_000)
    buffers = []
    for step, value in enumerate((weight, weight + 1, weight[:500]), start=1):
        writer.save(state(model={"a": value, "b": value, "c": value.view(10, -1)}, step=step), step)
        writer.wait()
        buffers.append(writer._buffers["model", "a"])
        assert (tmp_path / "last.pt").stat().st_size < 900_000
        loaded = read_checkpoint(tmp_path / "last.pt")["model"]
        assert torch.equal(loaded["b"], value) and torch.equal(loaded["c"], value.view(10, -1))
    assert buffers[0] is buffers[1] and buffers[2].shape == (500,)


def test_error_of_a_background_save_surfaces_once(tmp_path):
    (tmp_path / "file").touch()
    writer = CheckpointWriter(CheckpointFolder(tmp_path / "file" / "checkpoints"))
    for call in (writer.wait, writer.poll, lambda: writer.save(state(), 3)):
        writer.save(state(), 2)
        futures.wait([writer._save])
        with pytest.raises(OSError):
            call()
        writer.poll()


def test_state_that_cannot_be_saved_is_refused_at_once(tmp_path):
    writer = CheckpointWriter(CheckpointFolder(tmp_path))
    with pytest.raises(ValueError, match="path is a pathlib"):
        writer.save(state(path=Path("a")), 1)
    assert writer.newest_step is None


def test_program_that_ends_waits_for_the_save(tmp_path):
    code = """
import sys, torch
from tests.test_utils_checkpoint_folder import *
CheckpointWriter(CheckpointFolder(sys.argv[1])).save(state(model={"w": torch.zeros(5_000_000)}), 1)
"""
    assert python("-c", code, tmp_path).stderr == ""
    assert read_checkpoint(tmp_path / "last.pt")["model"]["w"].numel() == 5_000_000
    assert not list(tmp_path.glob(".*"))
