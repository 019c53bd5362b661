"""Run folders: one for each run, one owner for each folder, and logs that hold each step once."""

import json
import os
import re
import signal
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from tests.process import start_python
from tests.test_utils_checkpoint import state
from utils.checkpoint_folder import CheckpointFolder
from utils.errors import UserError
from utils.files import WriteError
from utils.find_run import resolve_checkpoint, resolve_run
from utils.run_folder import RunFolder


def test_create(tmp_path):
    folders = [RunFolder.create(tmp_path / "saved", "digits").path for _ in range(4)]
    assert re.fullmatch(r"\d{8}-\d{6}", folders[0].name) and len({*folders}) == 4
    assert all(path.is_dir() and path.parent == tmp_path / "saved" / "digits" for path in folders)
    assert os.readlink(tmp_path / "saved" / "digits" / "latest") == folders[-1].name


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "/a", "a/"])
def test_a_name_that_no_config_can_have_leads_nowhere(tmp_path, name):
    with pytest.raises(AssertionError, match="lead out of"):
        RunFolder.create(tmp_path / "saved", name)
    assert list(tmp_path.iterdir()) == []


def test_a_link_out_of_save_dir_is_refused_and_a_file_but_save_dir_may_be_a_link(tmp_path):
    for name in ("elsewhere", "scratch"):
        (tmp_path / name).mkdir()
    (tmp_path / "saved").symlink_to(tmp_path / "scratch")
    assert RunFolder.create(tmp_path / "saved", "b").path.is_dir()
    (tmp_path / "saved" / "a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="link out of"):
        RunFolder.create(tmp_path / "saved", "a")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="file"):
        RunFolder.create(tmp_path / "file", "a")


def test_a_worker_that_outlives_the_owner_does_not_hold_the_lock(tmp_path):
    """tests/torture shows that another process does, that it is named, and that its death frees the folder."""
    code = """
import os, sys, time
from utils.run_folder import *
run = RunFolder(sys.argv[1]); run.lock()
if os.fork() == 0:
    print(os.getpid(), flush=True)
time.sleep(100)
"""
    owner = start_python("-c", code, tmp_path)
    worker = int(owner.stdout.readline())
    try:
        with pytest.raises(UserError, match=f"in use by process {owner.pid} on "):
            RunFolder(tmp_path).lock()
        owner.kill()
        owner.wait()
        os.kill(worker, 0)  # still there
        RunFolder(tmp_path).lock()
    finally:
        os.kill(worker, signal.SIGKILL)
        owner.communicate()


def test_run_json(tmp_path):
    run = RunFolder(tmp_path)
    assert run.info() == {}
    run.start({"command": ["train.py"], "host": "a"})
    first = run.info()
    assert first["status"] == "running" and not {"resumed", "ended"} & first.keys()
    run.set_status("stopped")
    assert run.info()["status"] == "stopped" and run.info()["ended"] >= first["started"]
    (tmp_path / "run.json").write_text(json.dumps({**first, "started": "earlier"}))
    run.start({"command": ["train.py", "-r"], "host": "b"})
    again = run.info()
    assert again["started"] == "earlier" and "resumed" in again and "ended" not in again
    assert again["command"] == ["train.py", "-r"]
    (tmp_path / "run.json").write_text("{damaged")
    assert run.info() == {}


# The logs.

TIMES = ",lr,seconds,samples_per_second"


def write_logs(path: Path, metrics: str, log: str, **events: bytes) -> None:
    (path / "tensorboard").mkdir(exist_ok=True)
    (path / "metrics.csv").write_text(metrics)
    (path / "train.log").write_text(log)
    for name, content in events.items():
        (path / "tensorboard" / name).write_bytes(content)


def logs(path: Path) -> dict[str, bytes]:
    return {each.relative_to(path).as_posix(): each.read_bytes() for each in path.rglob("*") if each.is_file()}


def test_rewind(tmp_path):
    (tmp_path / "other.log").write_text("precious")
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.yaml").write_text("a: 1")
    run = RunFolder(path)
    write_logs(path, f"epoch,step{TIMES}\n1,10,1,1,1\n", "one\n", a=b"12345")
    positions, before = run.positions(), logs(path)
    assert positions == {"metrics.csv": 2, "train.log": 4, "tensorboard/a": 5}
    # A row with a new column lengthens all lines: what is counted are lines, not bytes.
    write_logs(path, f"epoch,step,new{TIMES}\n1,10,,1,1,1\n2,20,3", "one\ntwo\n", a=b"1234567", b=b"new")
    before["metrics.csv"] = f"epoch,step,new{TIMES}\n1,10,,1,1,1\n".encode()
    further = {name: 10 * length for name, length in positions.items()} | {"tensorboard/gone": 3}
    elsewhere = {"../other.log": 1, str(tmp_path / "other.log"): 0}  # whatever the checkpoint says
    for lengths in (positions, positions, further, {**positions, **elsewhere}):
        run.rewind(lengths)
        assert logs(path) == before
    for _ in range(2):
        run.rewind({})
        assert logs(path) == {"config.yaml": b"a: 1"}
    assert (tmp_path / "other.log").read_text() == "precious"


@pytest.mark.parametrize("positions", [None, [1], {"train.log": -1}, {"train.log": "1"}, {"train.log": 0.5}])
def test_rewind_to_nonsense(tmp_path, positions):
    write_logs(tmp_path, "epoch\n", "one")
    with pytest.raises(UserError, match="how far the logs went"):
        RunFolder(tmp_path).rewind(positions)
    assert (tmp_path / "train.log").read_text() == "one"


# Finding runs and checkpoints.


def make_run(save_dir: Path, run_id: str, status: str | None, *steps: int) -> RunFolder:
    path = save_dir / "a" / run_id
    path.mkdir(parents=True)
    for step in steps:
        CheckpointFolder(path / "checkpoints", 9).save(state(step=step), step, is_best=step == steps[0])
    if status:
        RunFolder(path).start({})
        RunFolder(path).set_status(status)
    return RunFolder(path)


@pytest.fixture
def save_dir(tmp_path):
    make_run(tmp_path, "20250101-000000", "stopped", 1)
    make_run(tmp_path, "20250101-000001", "failed", 1, 2)
    make_run(tmp_path, "20250101-000001-2", "finished")
    make_run(tmp_path, "20250101-000001-10", "finished", 5)
    return tmp_path


def test_auto_finds_the_newest_unfinished(save_dir):
    assert resolve_run("auto", save_dir, "a").path.name == "20250101-000001"
    assert resolve_run("auto", save_dir, "b") is None
    make_run(save_dir, "20250101-000003", "failed")  # before its first checkpoint
    assert resolve_run("a", save_dir).path.name == "20250101-000001-10"
    assert os.readlink(save_dir / "a" / "latest") == "20250101-000001-10"
    for status in (None, "finished"):  # None: killed before it wrote anything
        make_run(save_dir, f"20250101-000002{'' if status is None else '-2'}", status)
        assert resolve_run("auto", save_dir, "a").path.name == "20250101-000002"
    for run in (save_dir / "a").iterdir():
        RunFolder(run).set_status("finished")
    assert resolve_run("auto", save_dir, "a") is None
    with pytest.raises(UserError, match="-c"):
        resolve_run("auto", save_dir)


def test_every_way_to_name_a_run_and_a_checkpoint(save_dir):
    run = save_dir / "a" / "20250101-000001"
    best, last = (run / "checkpoints" / f"step-00000000{step}.pt" for step in (1, 2))
    (save_dir / "a" / "latest").symlink_to("20250101-000001-10")
    (save_dir / "link.pt").symlink_to(best)
    assert resolve_run(save_dir / "a/latest/checkpoints/last.pt").path == save_dir / "a" / "20250101-000001-10"
    for reference in (run, "a/20250101-000001", run / "checkpoints" / "best.pt", last, save_dir / "link.pt"):
        assert resolve_run(reference, save_dir).path == run
    for reference in (save_dir / "a", "a", save_dir / "a" / "latest"):
        assert resolve_run(reference, save_dir).path.name == "20250101-000001-10"
        assert resolve_checkpoint(reference, save_dir=save_dir).name == "step-000000005.pt"
    assert resolve_checkpoint(run) == best and resolve_checkpoint(run, "last") == last
    assert resolve_checkpoint(run / "checkpoints" / "last.pt") == run / "checkpoints" / "last.pt"
    best.write_bytes(b"damaged")
    assert resolve_checkpoint(run) == last
    last.unlink()
    with pytest.raises(UserError, match="no intact checkpoint"):
        resolve_checkpoint(run)


@pytest.mark.parametrize("reference", ["b", "a\0b", "x" * 5000, "saved/../nothing", "", "a/b/c.pt"])
def test_what_is_not_there_is_named_with_what_is(save_dir, monkeypatch, reference):
    monkeypatch.chdir(save_dir / "a")
    for resolve in (resolve_run, lambda reference, save_dir: resolve_checkpoint(reference, save_dir=save_dir)):
        with pytest.raises(UserError, match="20250101-000001-10") as caught:
            resolve(reference or save_dir, save_dir)
        assert len(str(caught.value)) < 600


def test_no_runs_at_all(tmp_path):
    (tmp_path / "elsewhere.pt").touch()
    for reference, message in (("a", "holds no runs"), (tmp_path / "elsewhere.pt", "neither a run nor")):
        with pytest.raises(UserError, match=message):
            resolve_run(reference, tmp_path / "saved")


def test_the_owner_mends_latest_and_sweeps_what_a_killed_run_left(tmp_path):
    run = RunFolder.create(tmp_path, "a")
    (tmp_path / "a" / "latest").unlink()  # as in a run that was killed too early
    run.checkpoints.mkdir()
    for name in (".run.json.1.tmp", "checkpoints/.step-000000001.pt.1.tmp"):
        (run.path / name).touch()
    for name, age in ((".latest.1.tmp", 0), (".latest.2.tmp", 100)):  # of which a young one may be another's
        (tmp_path / "a" / name).touch()
        os.utime(tmp_path / "a" / name, (time.time() - age,) * 2)
    run.lock()
    assert (tmp_path / "a" / "latest").resolve() == run.path.resolve()
    run.unlock()
    assert sorted(path.name for path in run.path.rglob("*")) == [".lock", "checkpoints"]
    assert {path.name for path in (tmp_path / "a").iterdir()} == {run.path.name, "latest", ".latest.1.tmp"}


def test_a_run_without_symbolic_links_has_no_latest(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "symlink", Mock(side_effect=PermissionError(1, "so says the file system")))
    assert RunFolder.create(tmp_path, "a").path.is_dir() and not (tmp_path / "a" / "latest").exists()
