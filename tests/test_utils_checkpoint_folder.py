"""Checkpoints of a run: none that matters is ever deleted, and no link ever points to nothing."""

import errno
import itertools
import logging
import os
import signal
from concurrent.futures import wait
from pathlib import Path

import pytest
import torch

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


@pytest.mark.parametrize(("keep_last", "kept"), [(0, [9]), (1, [9]), (2, [8, 9]), (99, [*range(1, 10)])])
def test_keeps_the_last(tmp_path, keep_last, kept):
    folder = CheckpointFolder(tmp_path / "checkpoints", keep_last)
    save(folder, *range(1, 10))
    assert steps(folder) == kept
    assert linked(folder, "last.pt") == 9 and not (folder.path / "best.pt").exists()
    for path in folder.steps().values():
        os.utime(path, (2e9, 2e9))  # not by file time, nor as texts
    save(folder, 1_000_000_000)
    assert steps(folder) == [*kept, 1_000_000_000][-max(keep_last, 1) :]
    assert folder.newest()[1]["step"] == 1_000_000_000


def test_keeps_the_best_besides(tmp_path):
    folder = CheckpointFolder(tmp_path, keep_last=1)
    save(folder, 1, 2, 3, 4, best=2)
    assert steps(folder) == [2, 4] and linked(folder, "best.pt") == 2 and linked(folder, "last.pt") == 4
    save(folder, 5, best=5)
    assert steps(folder) == [5] and os.readlink(folder.path / "best.pt") == "step-000000005.pt"


def test_keeps_the_one_resumed_from(tmp_path):
    save(CheckpointFolder(tmp_path, keep_last=1), 1)
    folder = CheckpointFolder(tmp_path, keep_last=1)
    folder.resume_from(folder.newest()[0])
    save(folder, 2, 3)
    assert steps(folder) == [1, 3]
    again = CheckpointFolder(tmp_path, keep_last=1)
    again.resume_from(tmp_path / "last.pt")
    save(again, 4)
    assert steps(again) == [3, 4]  # no more pile up, however often it is stopped


def test_resumed_from_further_back_or_from_another_folder(tmp_path):
    folder = CheckpointFolder(tmp_path, keep_last=2)
    save(folder, 10, 20, 30, best=30)
    folder = CheckpointFolder(tmp_path, keep_last=2)
    folder.resume_from(folder.steps()[20])
    assert folder.newest()[1]["step"] == 20
    save(folder, 25)
    assert steps(folder) == [20, 25, 30] and linked(folder, "last.pt") == 25 and linked(folder, "best.pt") == 30
    other = CheckpointFolder(tmp_path / "other")
    other.resume_from(folder.path / "last.pt")
    save(other, 26)
    assert steps(other) == [26] and steps(folder) == [20, 25, 30]


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
    def refuse(*args):
        raise PermissionError(errno.EPERM, "no symbolic links here")

    monkeypatch.setattr(os, "symlink", refuse)  # what the file system, not our code, would say
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
        assert found["step"] in (2, 3) and linked(folder, "last.pt") in (2, 3) and linked(folder, "best.pt") in (2, 3)
        folder.resume_from(path)
        save(folder, 3, 4)
        assert linked(folder, "last.pt") == 4
        if is_over:
            return place - 1


def test_a_save_that_is_killed_or_fails_loses_nothing(tmp_path):
    code = """
import sys
from tests.test_utils_checkpoint_folder import *
for number in (KILLED, errno.ENOSPC, errno.EIO, errno.EDQUOT):
    assert fail_in_saves(Path(sys.argv[1]) / str(number), number) > 8
"""
    python("-c", code, tmp_path)


# The writer beside the training.


GPU = pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")])


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
    writer = CheckpointWriter(CheckpointFolder(tmp_path / "checkpoints"))
    writer.save(state(), 1)
    writer.wait()
    (tmp_path / "checkpoints").rename(tmp_path / "away")
    (tmp_path / "checkpoints").write_text("a file in the way")
    for call in (writer.wait, lambda: writer.save(state(), 3)):
        writer.save(state(), 2)
        with pytest.raises(OSError):
            call()
        writer.poll()
    writer.save(state(), 2)
    wait([writer._save])
    with pytest.raises(OSError):
        writer.poll()
    assert read_checkpoint(tmp_path / "away" / "last.pt")["step"] == 3


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
