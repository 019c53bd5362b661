"""Stop a run anywhere, go on with it, and end with the same bits; exit codes, and what -r takes."""

import json
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch import nn

from base import LOGGERS, METRICS, MODELS
from tests.running import (
    Recorder,
    assert_same_state,
    assert_same_table,
    resume,
    rows,
    state_of,
    status,
    steps_saved,
    train,
)  # fmt: skip
from utils.run_folder import RunFolder
from utils.signals import StopSignals


def runs(folder):
    return sorted(path for path in (folder / "saved/tiny").iterdir() if not path.is_symlink())


# Signals: tests/torture sends them to runs.


NAMES = [name for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("hears_hangup")
def test_the_first_signal_sets_the_flag_and_handlers_come_back(name, capfd):
    number, stop = getattr(signal, name), StopSignals()
    before = [signal.getsignal(getattr(signal, each)) for each in NAMES]
    with pytest.raises(KeyError), stop:
        assert stop.received is None
        os.kill(os.getpid(), number)
        assert stop.received is number and stop.received.name == name
        os.kill(os.getpid(), signal.SIGTERM)
        raise KeyError
    assert stop.received is number
    assert [signal.getsignal(getattr(signal, each)) for each in NAMES] == before
    told = capfd.readouterr().err
    assert f"{name}: stopping after this step" in told and told.count("\n") == 2
    with stop:
        assert stop.received is None  # entering again forgets


def test_other_threads_have_no_signals():
    def received() -> signal.Signals | None:
        with StopSignals() as stop:
            return stop.received

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(received).result() is None


@pytest.mark.usefixtures("hears_hangup")
def test_what_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received is signal.SIGTERM


@LOGGERS.register
class Interrupting(Recorder):
    """Sends Ctrl-C when the last step is done, and all that is left is to write the end."""

    def close(self, status: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_while_the_end_is_written_stops_nothing(tmp_path):
    run = train(tmp_path, "trainer.loggers=[Interrupting]")
    assert status(run) == "finished" and (run / "curves.png").exists()


# Which run, until when, and from where.


def test_minutes_and_hours_are_kept(tmp_path, monkeypatch):
    """With a clock by which each step lasts 40 seconds, and all else no time."""
    passed = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: sum(passed))
    monkeypatch.setattr(Recorder, "on_step", lambda self, step: passed.append(40))
    run = train(tmp_path, "--epochs", "3", "trainer.save_every=2 minutes", "trainer.keep_last=99")
    assert steps_saved(run) == [3, 6, 9, 12, 15]
    assert rows(run)[0]["seconds"] == 200
    run = train(tmp_path, "--epochs", "3", "trainer.max_time=5 minutes", "--name", "stopped")
    assert status(run) == "stopped" and state_of(run)["step"] == 8


def test_auto_starts_a_run_goes_on_with_it_and_then_starts_another(tmp_path):
    run = train(tmp_path, "-r", "auto", "trainer.max_time=0.000001 seconds")
    assert status(run) == "stopped"
    assert train(tmp_path, "-r", "auto") == run and status(run) == "finished"
    assert train(tmp_path, "-r", "auto", "--epochs", "3") != run


@pytest.mark.parametrize("left", ["everything but checkpoints", "config", "nothing"])
def test_a_run_killed_before_its_first_checkpoint_begins_again_in_its_own_folder(left, tmp_path):
    run = train(tmp_path)
    whole = shutil.copytree(run, tmp_path / "whole", symlinks=True)
    shutil.rmtree(run / "checkpoints")
    (run / "run.json").write_text('{"status": "running"}')
    for path in run.iterdir() if left in ("config", "nothing") else ():
        if path.name != "config.yaml" or left == "nothing":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if left == "nothing":
        train(tmp_path, "-r", "auto")
    else:
        resume(run)
    assert runs(tmp_path) == [run] and status(run) == "finished"
    assert_same_state(state_of(run), state_of(whole))
    assert_same_table(run, whole)


def test_a_run_goes_on_from_its_newest_checkpoint_or_the_one_named(tmp_path, monkeypatch):
    run = train(tmp_path, "trainer.save_every=1 steps", "trainer.keep_last=99")
    end = state_of(run)
    monkeypatch.chdir(tmp_path)
    for reference in (run / "checkpoints/step-000000002.pt", f"tiny/{run.name}/checkpoints/step-000000003.pt"):
        resume(reference)
        assert steps_saved(run) == [*range(1, 11)]
        assert_same_state(state_of(run), end)
    assert [row["step"] for row in rows(run)] == [5, 10]
    steps = [json.loads(line)[0] for line in (run / "recorded.jsonl").read_text().splitlines()]
    assert steps.count(2) == 1 and steps.count(4) == 3  # nothing before the checkpoint was done again


def test_a_config_given_with_the_run_must_be_its_own(tmp_path, capsys):
    run = train(tmp_path, "--epochs", "1")
    train(tmp_path, "-r", str(run), "--epochs", "2")
    capsys.readouterr()
    changed = ("--lr", "0.5", "model.args.hidden=[9]", "metrics=[accuracy]")
    train(tmp_path, "-r", str(run), "--epochs", "3", *changed, code=2)
    changes = {
        "--lr 0.5: optimizer.args.lr": ("0.5", "0.1"),
        "metrics=[accuracy]: metrics": ("[{type: 'accuracy'}]", "[]"),
        "model.args.hidden=[9]: model.args.hidden.0": ("9", "8"),
    }
    told = "found {}, but the run to resume has {}; leave it as it is, or start a new run"
    assert capsys.readouterr().err.splitlines() == [f"{key}: {told.format(*two)}" for key, two in changes.items()]
    assert len(rows(run)) == 2


def test_a_run_in_use_is_left_alone(tmp_path, capsys):
    run = train(tmp_path)
    owner = RunFolder(run)
    owner.lock()
    resume(run, "--epochs", "3", code=2)
    assert f"is in use by process {os.getpid()}" in capsys.readouterr().err
    owner.unlock()
    resume(run, "--epochs", "3")


# Other exit codes.


def test_an_error_in_own_code_keeps_its_traceback_and_the_log_ends_with_it(tmp_path):
    calls = []

    @METRICS.register
    def broken_metric(output, target):
        calls.append(output)
        return output[:, 0] if len(calls) < 5 else output.no_such_method()  # after two in the rehearsal

    with pytest.raises(AttributeError, match="no_such_method"):
        train(tmp_path, "metrics=[broken_metric]")
    (run,) = runs(tmp_path)
    log = (run / "train.log").read_text()
    assert status(run) == "failed"
    assert "ERROR   failed\nTraceback" in log and "AttributeError" in log.splitlines()[-1]


def test_ctrl_c_before_training_leaves_quietly(tmp_path):
    @METRICS.register
    def interrupting(output, target):
        raise KeyboardInterrupt

    train(tmp_path, "metrics=[interrupting]", "--dry-run", code=130)


def test_a_model_whose_code_has_changed_is_not_resumed(tmp_path, capsys):
    @MODELS.register
    class Changing(nn.Linear):
        width = 3

        def __init__(self):
            super().__init__(8, self.width)

    run = train(tmp_path, "model=Changing", "--epochs", "1")
    Changing.width = 4
    resume(run, "--epochs", "2", code=2)
    assert "step-000000005.pt does not fit the model: weight (3, 8) there, (4, 8) here" in capsys.readouterr().err
