"""Loggers that write elsewhere: what is missing, what fails, and steps that are taken again."""

import os
import signal

import pytest

from base import LOGGERS
from tests.running import TINY, assert_same_end, resume, status, train
from trainer.trackers import Place
from utils.plain_data import values_by_key

QUIET = TINY.replace(", loggers: [Recorder]", "")


@LOGGERS.register
class Failing:
    """A tracker whose server is away from a call on."""

    def __init__(self, folder, at: str):
        self.at, self.path = at, folder / "told.txt"

    def start(self, config, run):
        self.note("start")

    def log(self, step, scores):
        self.note(f"log {step}")

    def flush(self):
        self.note("flush")

    def close(self, status):
        self.note(f"close {status}")

    def note(self, call: str):
        with open(self.path, "a") as file:
            file.write(f"{call}\n")
        if call == self.at:
            raise ConnectionError("no route to host")


@pytest.mark.parametrize("name", ["WandB", "MLflow"])
def test_a_missing_package_is_told_before_there_is_a_run(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("base.registries.find_spec", lambda package: None)
    train(tmp_path, f"trainer.loggers=[{name}]", config=QUIET, code=2)
    error = capsys.readouterr().err
    assert f"trainer.loggers.0.type: {name} needs the package {name.lower()}" in error
    assert f"pip install {name.lower()}" in error and not (tmp_path / "saved").exists()


@pytest.mark.parametrize("at", ["start", "log 3", "flush", "close finished"])
def test_a_logger_that_fails_is_told_of_once_and_changes_nothing(at, tmp_path, caplog):
    whole = train(tmp_path, config=QUIET)
    caplog.clear()
    run = train(tmp_path, f"trainer.loggers=[{{type: Failing, args: {{at: {at}}}}}]", config=QUIET)
    assert status(run) == "finished"
    assert_same_end(run, whole)
    (told,) = [record.getMessage() for record in caplog.records if "failed" in record.getMessage()]
    assert told.startswith("logger Failing failed in") and "ConnectionError: no route to host" in told
    assert "tests/test_trackers.py:" in told and told in (run / "train.log").read_text()
    calls = (run / "told.txt").read_text().splitlines()
    assert calls[-1] == at and calls.count(at) == 1


@LOGGERS.register
class Elsewhere:
    """What a tracker is told, in a file that no resuming cuts back."""

    stops_at = None

    def __init__(self, folder):
        self.folder = folder

    def start(self, config, run):
        self.place = Place(self.folder / "trackers/elsewhere.txt", config["name"], run)

    def log(self, step, scores):
        if self.place.is_new(step, scores):
            with open(self.folder / "elsewhere.csv", "a") as file:
                file.writelines(f"{self.place.id} {step} {name}\n" for name in scores)
        if step == self.stops_at and "lr" in scores:
            os.kill(os.getpid(), signal.SIGTERM)  # and an evaluation is due

    def flush(self): ...

    def close(self): ...


def test_steps_taken_again_are_told_once_and_to_the_same_run(tmp_path, monkeypatch):
    more = ("trainer.loggers=[Elsewhere]", "trainer.keep_last=9")
    (tmp_path / "whole").mkdir()
    whole = train(tmp_path / "whole", *more, config=QUIET)
    with monkeypatch.context() as patch:
        patch.setattr(Elsewhere, "stops_at", 5)
        run = train(tmp_path, *more, config=QUIET, code=143)
    resume(run)
    resume(run / "checkpoints/step-000000005.pt")  # and the second epoch is trained again
    told, in_one_go = ((each / "elsewhere.csv").read_text().splitlines() for each in (run, whole))
    assert [line.split()[1:] for line in told] == [line.split()[1:] for line in in_one_go]
    assert len({line.split()[0] for line in told}) == 1


def test_the_place_of_a_run_outlives_a_torn_line(tmp_path):
    path = tmp_path / "trackers/x.txt"
    place = Place(path, "two words", "20260101-000000")
    assert [place.is_new(step, [name]) for step, name in ((5, "a"), (5, "b"), (10, "a"))] == [True, True, True]
    with open(path, "a") as file:
        file.write("1")  # of 15
    again = Place(path, "two words", "20260101-000000")
    assert again.is_known and not place.is_known
    assert again.id == place.id and again.id.startswith("two-words-20260101-000000-")
    taken_again = ((5, "a"), (10, "a"), (10, "b"), (15, "a"))
    assert [again.is_new(step, [name]) for step, name in taken_again] == [False, False, True, True]
    last = Place(path, "two words", "20260101-000000")
    assert [last.is_new(step, ["a"]) for step in (15, 20)] == [False, True]
    assert Place(tmp_path / "other/x.txt", "two words", "20260101-000000").id != place.id


def test_values_by_key():
    data = {"a": {"b": 1, "c": {}}, "d": [1], "e": [{"f": None}]}
    assert [*values_by_key(data)] == [("a.b", 1), ("d", [1]), ("e.0.f", None)]
