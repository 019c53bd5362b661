"""Planned stops after every step and during every validation, and signals at random instants."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.torture import experiment
from tests.torture.harness import Run, Tally, run_folder, start, uninterrupted
from utils.checkpoint import read_checkpoint
from utils.run_folder import RunFolder

EVERY_EPOCH = "trainer.save_every=1 epoch"  # so that the stops save where nothing else would
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


def stop_everywhere(folder: Path, count: int, seed: int = 0) -> Tally:
    """One run a place to stop at: after each step of three epochs, and in each validation at each of its samples.

    count: the most places of each kind to try.
    """
    tally = Tally()
    expected = uninterrupted(folder / "untouched", EVERY_EPOCH)
    steps = [("after step", lambda pid, step=step: stop_after(step, pid)) for step in range(1, 13)]
    validations = [
        ("during validation", lambda pid, epoch=epoch, sample=sample: stop_in_validation(epoch, sample, pid))
        for epoch in range(3)
        for sample in (0, 8, 24)  # in its first, its second and its last batch
    ]
    choose = random.Random(seed)
    places = choose.sample(steps, min(count, 12)) + choose.sample(validations, min(count, 9))
    for number, (what, prepare) in enumerate(places):
        case = folder / f"stop-{number}"
        stopped = start(case, EVERY_EPOCH, "data_loader.num_workers=0", prepare=lambda: prepare(os.getpid()))  # noqa: B023
        stopped.wait()
        check_stopped(tally, stopped, signal.SIGTERM, what)
        if what == "during validation":
            state = read_checkpoint(run_folder(case) / "checkpoints/last.pt")
            tally.check(not state["is_settled"], f"{case}: the validation was not left to the resumed run")
        check_end(tally, expected, case)
    return tally


def stop_after(step: int, pid: int) -> None:
    experiment.on_step = lambda reached: reached == step and os.kill(pid, signal.SIGTERM)


def stop_in_validation(epoch: int, sample: int, pid: int) -> None:
    num_seen = 0

    def on_read(split, index, picture):
        nonlocal num_seen
        num_seen += split == "valid" and index == sample
        if num_seen == epoch + 1:
            os.kill(pid, signal.SIGTERM)
        return picture

    experiment.on_read = on_read


def signals(folder: Path, count: int, seed: int = 0) -> Tally:
    """`count` runs for each signal, which comes at a random instant; twice in a row for some."""
    tally, choose = Tally(), random.Random(seed)
    expected = uninterrupted(folder / "untouched", EVERY_EPOCH)
    for number in SIGNALS:
        for i in range(count):
            case = folder / f"{number.name}-{i}"
            instant = choose.uniform(0, 0.02)
            step = choose.randint(1, 12)
            run = start(case, EVERY_EPOCH, prepare=lambda: signal_after(step, instant, number))  # noqa: B023
            run.wait()
            check_stopped(tally, run, number, number.name)
            check_end(tally, expected, case)
    stop_twice(folder / "twice", tally)
    out_of_time(folder / "max_time", tally, expected)
    return tally


def signal_after(step: int, seconds: float, number: int) -> None:
    """A child that sends the signal some time after a step."""

    def on_step(reached: int) -> None:
        if reached == step:
            run = os.getpid()
            if os.fork() == 0:
                time.sleep(seconds)
                os.kill(run, number)
                os._exit(0)

    experiment.on_step = on_step


def check_stopped(tally: Tally, run: Run, number: signal.Signals, what: str) -> None:
    """It ended by the rules: 128+n and `stopped`, or 0 and `finished` when the signal came with the last step."""
    status = RunFolder(run_folder(run.folder)).info().get("status")
    is_right = (run.code, status) in ((128 + number, "stopped"), (0, "finished"))
    tally.check(is_right, f"{what}: exit code {run.code}, {status}: {run.output()[-1500:]}", f"{what}: {status}")
    tally.check("Traceback" not in run.output(), f"{what}: {run.output()[-1500:]}")
    last = run_folder(run.folder) / "checkpoints/last.pt"
    tally.check(last.exists(), f"{what}: {run.folder} has no checkpoint")


def check_end(tally: Tally, expected: dict, folder: Path) -> None:
    """The bits are right at the end, to which it may have come before the signal."""
    if is_finished(folder):
        tally.check_same(expected, folder, str(folder))
    else:
        tally.check_goes_on(expected, folder, str(folder), EVERY_EPOCH)


def is_finished(folder: Path) -> bool:
    return RunFolder(run_folder(folder)).info().get("status") == "finished"


def stop_twice(folder: Path, tally: Tally) -> None:
    """A second SIGINT ends even a run that hangs in a step."""
    run = start(folder, prepare=lambda: hang_after(3))
    wait_for((run.folder / "hangs").exists)
    for _ in range(2):
        os.kill(run.pid, signal.SIGINT)
        time.sleep(0.2)
    tally.check(run.wait(5) == 130, f"second SIGINT: {run.code} after {run.seconds:.1f} s", "second SIGINT")


def hang_after(step: int) -> None:
    def on_step(reached: int) -> None:
        if reached == step:
            Path("hangs").touch()
            end = time.monotonic() + 60
            while time.monotonic() < end:
                time.sleep(0.01)

    experiment.on_step = on_step


def out_of_time(folder: Path, tally: Tally, expected: dict) -> None:
    """max_time: saved, status `stopped`, exit code 0; the same command in a loop comes to the end."""
    num_stops = 0
    while num_stops < 30:
        run = start(folder, "-r", "auto", EVERY_EPOCH, "trainer.max_time=0.2 seconds", prepare=lambda: slowly(0.05))
        tally.check(run.wait() == 0, f"max_time: {run.code} {run.output()[-500:]}")
        if is_finished(folder):
            break
        status = RunFolder(run_folder(folder)).info().get("status")
        tally.check(status == "stopped", f"max_time: status {status}", "max_time: stopped")
        num_stops += 1
    tally.check(is_finished(folder) and num_stops > 0, f"max_time: {num_stops} stops and no end")
    tally.check_same(expected, folder, "max_time")
    epochs = re.findall(r"epoch (\d)/3", (run_folder(folder) / "train.log").read_text())
    tally.check(epochs == ["1", "2", "3"], f"max_time: epochs {epochs} in train.log")


def slowly(seconds: float) -> None:
    experiment.on_step = lambda step: time.sleep(seconds)


def wait_for(is_true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not is_true() and time.monotonic() < end:
        time.sleep(0.01)
