"""The device that was asked for, and a description of machine and code in plain data."""

import json
import platform
import subprocess
import sys

import pytest
import torch

from tests.process import python
from utils.errors import UserError
from utils.machine import fingerprint, git_state, resolve_device, warn_of_changes
from utils.plain_data import copy_plain

ANY = "not one of auto, cpu, cuda, cuda:N, mps"
REFUSED = [(text, ANY) for text in ("gpu", "cpu:1", "cuda:x", "cuda:-1", "", "CUDA", "cuda:99999", "meta", "xla")]


def test_device_that_is_there():
    assert resolve_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert resolve_device("auto").type == expected


@pytest.mark.parametrize(("text", "message"), [*REFUSED, ("cuda:999", "'cuda:999'"), ("mps", "'mps'")])
def test_device_that_there_is_not(text, message):
    if text == "mps" and torch.backends.mps.is_available():
        pytest.skip("there is one")
    with pytest.raises(UserError, match=message):
        resolve_device(text)


def test_fingerprint_is_plain_data():
    found = fingerprint(torch.device("cpu"))
    assert copy_plain(found, lambda path, tensor: tensor) == found and json.loads(json.dumps(found)) == found
    assert found["torch"] == torch.__version__ and found["device"] == "cpu"
    assert found["num_threads"] == torch.get_num_threads() and found["cpu"] and found["host"]


def test_git_state(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    unknown = {"commit": None, "dirty": None}
    assert git_state(tmp_path) == unknown and git_state(tmp_path / "none") == unknown
    git("init")
    assert git_state(tmp_path) == unknown  # no commit yet
    git("commit", "--allow-empty", "-m", "a")
    state = git_state(tmp_path)
    assert len(state["commit"]) == 40 and state["dirty"] is False
    (tmp_path / "new_model.py").write_text("b = 1")
    assert git_state(tmp_path) == {**state, "dirty": True}
    monkeypatch.setenv("PATH", "")
    assert git_state(tmp_path) == unknown


def test_another_machine_is_told_of(caplog):
    here = fingerprint(torch.device("cpu"))
    warn_of_changes(here, {**here, "host": "another", "python": "3.99"})  # these change no bits
    assert not caplog.records
    warn_of_changes(here, {**here, "torch": "9.9", "num_threads": 64})
    assert f"torch {here['torch']} -> 9.9, num_threads {here['num_threads']} -> 64" in caplog.text
    for unknown in (None, [1], {}):  # a checkpoint without, or one that was made to harm
        caplog.clear()
        warn_of_changes(unknown, here)
        assert "torch None -> " in caplog.text


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="it is glibc's malloc")
def test_freed_memory_is_kept_for_the_next_step():
    program = """
import torch
from utils.machine import keep_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1])
def kept():
    before = resident()
    tensors = [torch.ones(4_000_000) for _ in range(6)]
    held = resident()
    del tensors
    return (resident() - before) / (held - before)
print(kept())
keep_freed_memory()
print(kept())
"""
    before, after = map(float, python("-c", program).stdout.split())
    assert before < 0.1 and after > 0.9
