"""Planned stops after every step and during every validation, and signals at random instants."""

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tests.torture import experiment
from tests.torture.harness import Run, Tally, run_folder, start, status, uninterrupted
from utils.checkpoint import read_checkpoint

EVERY_EPOCH = "trainer.save_every=1 epoch"  # so that the stops save where nothing else would
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


def stop_everywhere(folder: Path, count: int, seed: int = 0) -> Tally:
    """One run a place to stop at: after each step of three epochs, and between any two batches of each validation.

    count: the most places of each kind to try.
    """
    tally, choose = Tally(), random.Random(seed)
    expected = uninterrupted(folder / "untouched", EVERY_EPOCH)
    steps = [("after step", partial(stop_after, step)) for step in range(1, 13)]
    validations = [
        ("during validation", partial(stop_in_validation, epoch, batch)) for epoch in range(3) for batch in range(1, 4)
    ]
    places = choose.sample(steps, min(count, 12)) + choose.sample(validations, min(count, 9))
    for number, (what, prepare) in enumerate(places):
        case = folder / f"stop-{number}"
        stopped = start(case, EVERY_EPOCH, "data_loader.num_workers=0", prepare=prepare)
        check_stopped(tally, stopped, signal.SIGTERM, what)
        state = read_checkpoint(run_folder(case) / "checkpoints/last.pt")
        is_there = not state["is_settled"] if what == "during validation" else state["step"] == prepare.args[0]
        tally.check(is_there, f"{case} {what}: saved at step {state['step']}, settled: {state['is_settled']}")
        check_end(tally, expected, case)
    return tally


def stop_after(step: int) -> None:
    run = os.getpid()
    experiment.here.on_step = lambda reached: reached == step and os.kill(run, signal.SIGTERM)


def stop_in_validation(epoch: int, batch: int) -> None:
    """At the batch before, of four. What is evaluated before the first step is for the rehearsal."""
    run, num_steps, num_evaluated = os.getpid(), 0, 0

    def on_step(reached):
        nonlocal num_steps
        num_steps = reached

    def on_metric(values):
        nonlocal num_evaluated
        num_evaluated += num_steps > 0 and torch.is_inference_mode_enabled()
        if num_evaluated == 4 * epoch + batch:
            os.kill(run, signal.SIGTERM)
        return values

    experiment.here.on_step, experiment.here.on_metric = on_step, on_metric


def stopped_after(step: int, folder: Path, *arguments: str) -> None:
    """A run that was asked to stop after a step, and has."""
    start(folder, *arguments, prepare=partial(stop_after, step)).wait()


def signals(folder: Path, count: int, seed: int = 0) -> Tally:
    """`count` runs for each signal, which comes at a random instant; two signals for a run that hangs."""
    tally, choose = Tally(), random.Random(seed)
    expected = uninterrupted(folder / "untouched", EVERY_EPOCH)
    for number in SIGNALS:
        for i in range(count):
            case = folder / f"{number.name}-{i}"
            instant, step = choose.uniform(0, 0.02), choose.randint(1, 12)
            run = start(case, EVERY_EPOCH, prepare=partial(signal_after, step, instant, number))
            check_stopped(tally, run, number, number.name)
            check_end(tally, expected, case)
    for first in (signal.SIGINT, signal.SIGTERM):
        interrupt_after(folder / f"twice-{first.name}", first, tally)
    out_of_time(folder / "max_time", tally, expected, seconds=max(0.2, 0.45 / count))
    return tally


def signal_after(step: int, seconds: float, number: int) -> None:
    """A child that sends the signal some time after a step."""

    def on_step(reached: int) -> None:
        if reached == step:
            run = os.getpid()
            if os.fork() == 0:
                with contextlib.suppress(ProcessLookupError):  # it may have come to its end
                    time.sleep(seconds)
                    os.kill(run, number)
                os._exit(0)

    experiment.here.on_step = on_step


def check_stopped(tally: Tally, run: Run, number: signal.Signals, what: str) -> None:
    """It ends by the rules: 128+n and `stopped`, or 0 and `finished` when the signal came with the last step."""
    run.wait()
    found = status(run.folder)
    is_right = (run.code, found) in ((128 + number, "stopped"), (0, "finished"))
    tally.check(is_right, f"{what}: exit code {run.code}, {found}: {run.output()[-1500:]}", f"{what}: {found}")
    tally.check("Traceback" not in run.output(), f"{what}: {run.output()[-1500:]}")
    last, rows, curves = (
        run_folder(run.folder) / name for name in ("checkpoints/last.pt", "metrics.csv", "curves.png")
    )
    is_there = last.exists() and curves.exists() == rows.exists()
    tally.check(is_there, f"{what}: {run.folder} has no checkpoint, or no curves of its rows")
    if found == "stopped":
        tally.check(f"{number.name}: stopping after this step" in run.output(), f"{what}: not told")


def check_end(tally: Tally, expected: dict[str, Any], folder: Path) -> None:
    """The bits are right at the end, to which it may have come before the signal."""
    if status(folder) == "finished":
        tally.check_same(expected, folder, str(folder))
    else:
        tally.check_goes_on(expected, folder, str(folder), EVERY_EPOCH, "data_loader.num_workers=0")


def interrupt_after(folder: Path, first: signal.Signals, tally: Tally) -> None:
    """A SIGINT after another signal ends even a run that hangs in a step."""

    run = start(folder, prepare=lambda: on_each_step(lambda: (print("hangs"), time.sleep(600))))
    for number, told in ((first, "hangs"), (signal.SIGINT, "stopping after this step")):
        while run.is_running() and told not in run.output():
            time.sleep(0.01)
        os.kill(run.pid, number)
    is_right = run.wait() == 130 and "leaving at once" in run.output()
    tally.check(is_right, f"SIGINT after {first.name}: {run.code} after {run.seconds:.1f} s", "second SIGINT")


def on_each_step(call: Callable[[], object]) -> None:
    experiment.here.on_step = lambda step: call()


def out_of_time(folder: Path, tally: Tally, expected: dict[str, Any], seconds: float) -> None:
    """max_time: saved, status `stopped`, exit code 0; the same command in a loop comes to the end.

    seconds: of max_time, for a run that takes 0.6 seconds and more.
    """
    arguments = ("-r", "auto", EVERY_EPOCH, f"trainer.max_time={seconds} seconds", "data_loader.num_workers=0")
    for _ in range(30):
        run = start(folder, *arguments, prepare=lambda: on_each_step(lambda: time.sleep(0.05)))
        tally.check(run.wait() == 0, f"max_time: {run.code} {run.output()[-500:]}")
        if status(folder) == "finished":
            break
        tally.check(status(folder) == "stopped", f"max_time: status {status(folder)}", "max_time: stopped")
    num_stops = tally.counts["max_time: stopped"]
    tally.check(status(folder) == "finished" and num_stops > 0, f"max_time: {num_stops} stops, {status(folder)}")
    tally.check_same(expected, folder, "max_time")
    epochs = re.findall(r"INFO +epoch=(\d) ", (run_folder(folder) / "train.log").read_text())
    tally.check(epochs == ["1", "2", "3"], f"max_time: epochs {epochs} in train.log")
