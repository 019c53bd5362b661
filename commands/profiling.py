"""Where the time of a step goes: python train.py -c config/digits.yaml --profile"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, schedule

from base.base_trainer import BaseTrainer
from base.journal import Journal
from base.silent import train_silently
from config.schema import Config
from trainer.trainer import Trainer
from utils.checkpoint_folder import CheckpointFolder
from utils.checkpoint_writer import CheckpointWriter
from utils.distributed import is_main
from utils.errors import UserError
from utils.files import make_folder
from utils.run_folder import RunFolder, parent_of_runs

FEWEST_STEPS, MOST_STEPS = 10, 60
STEP_PARTS = ("data", "forward", "backward", "optimizer", "metrics", "logging", "other")


class EnoughError(Exception):
    """Ends the training."""


class Clock:
    """Seconds by part: what is within another part counts for itself alone. A GPU is waited for at each change."""

    def __init__(self, device: torch.device):
        self.seconds: dict[str, float] = {}
        self._on_cuda = device.type == "cuda"
        self._parts = ["other"]
        self._since = time.perf_counter()

    def reset(self) -> None:
        self._count()
        self.seconds.clear()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._count()
        self._parts.append(name)
        try:
            yield
        finally:
            self._count()
            self._parts.pop()

    def stopped(self) -> dict[str, float]:
        """The seconds so far."""
        self._count()
        return dict(self.seconds)

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Have the calls of a method of this one object count as a part."""
        method = getattr(owner, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            with self.part(part), torch.profiler.record_function(f"{part}: {name}"):
                return method(*args, **kwargs)

        setattr(owner, name, watched)

    def _count(self) -> None:
        if self._on_cuda:
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[self._parts[-1]] = self.seconds.get(self._parts[-1], 0.0) + now - self._since
        self._since = now


def profile(trainer: BaseTrainer, config: Config) -> str:
    """Train for some steps in a folder that is deleted; returns a table, and writes a trace beside the runs.

    UserError for a trainer whose steps have other parts, and for a run that is too short.
    """
    num_steps = min(MOST_STEPS, trainer.plan.total_steps - trainer.step)
    if not isinstance(trainer, Trainer):
        raise UserError(f"--profile: {type(trainer).__name__} is no Trainer, and its steps have other parts")
    if num_steps < FEWEST_STEPS:
        raise UserError(f"--profile: {num_steps} steps are left, and it takes {FEWEST_STEPS} to say anything")
    num_skipped, num_traced = num_steps // 10, num_steps // 5
    num_timed = num_steps - num_skipped - num_traced - 1
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # else it tells that it starts, ends, and finds no GPU
    clock = Clock(trainer.forward_pass.device)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    plan = schedule(wait=num_skipped + num_timed, warmup=1, active=num_traced, repeat=1)
    timed: dict[str, float] = {}
    with torch.profiler.profile(activities=activities, schedule=plan) as profiler:

        def after(num_done: int) -> None:
            if num_done == num_skipped:
                clock.reset()
            if num_done == num_skipped + num_timed:
                timed.update(clock.stopped())
            if num_done == num_steps:
                raise EnoughError
            if num_done:
                profiler.step()

        _watch(trainer, clock, after)
        with contextlib.suppress(EnoughError):
            _train(trainer, config, clock)
    if not is_main():
        return ""
    path = parent_of_runs(config.trainer.save_dir, config.name) / "profile" / "trace.json"
    make_folder(path.parent)
    profiler.export_chrome_trace(str(path))
    return f"{table_of(timed, num_timed, trainer.train_loader.batch_size * trainer.plan.accumulate_steps)}\n" + (
        f"{num_traced} later steps are in {path}: open it in chrome://tracing or ui.perfetto.dev"
    )


def _watch(trainer: Trainer, clock: Clock, after: Callable[[int], None]) -> None:
    """Have the parts of the trainer's steps timed. after: called before each step, with the number of those done."""
    for owner, name, part in (
        (trainer, "training_loss", "forward"),
        (trainer.own_steps, "backward", "backward"),
        (trainer.own_steps, "step_with", "backward"),  # and what it leaves to the optimizer
        (trainer, "act", "optimizer"),
        (trainer.train_sums, "update", "metrics"),
        (trainer, "evaluate", "evaluation"),
        (trainer, "save", "checkpoint"),
    ):
        clock.watch(owner, name, part)
    batches, begin_step, first_step = trainer.train_loader.batches, trainer.begin_step, trainer.step

    def watched_batches(*place: int) -> Iterator[Any]:
        iterator = iter(batches(*place))
        while True:
            with clock.part("data"), torch.profiler.record_function("data: next batch"):
                batch = next(iterator, None)
            if batch is None:
                return
            yield batch

    def watched_begin(window: Any) -> None:
        after(trainer.step - first_step)
        begin_step(window)

    trainer.train_loader.batches, trainer.begin_step = watched_batches, watched_begin


def _train(trainer: Trainer, config: Config, clock: Clock) -> None:
    """Train as in a run, without the user's loggers: nobody wants this run among theirs."""
    if not is_main():
        train_silently(trainer, is_resumed=False)
        return
    config = config.model_copy(update={"trainer": config.trainer.model_copy(update={"loggers": []})})
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder))
        checkpoints = CheckpointWriter(CheckpointFolder(run.checkpoints, config.trainer.keep_last))
        try:
            with Journal(run, trainer.plan, config) as journal:
                for name in ("log_step", "log_evaluation", "log_epoch", "advance"):
                    clock.watch(journal, name, "logging")
                trainer.fit(journal, checkpoints)
        finally:
            checkpoints.wait()


def table_of(seconds: dict[str, float], num_steps: int, num_samples: int) -> str:
    """Milliseconds and share of each part of a step, and of what came between the steps."""
    in_steps = sum(seconds.get(part, 0.0) for part in STEP_PARTS)
    rate = num_samples * num_steps / in_steps
    lines = [f"{num_steps} steps of {1000 * in_steps / num_steps:.2f} ms, {rate:,.0f} samples/s"]
    lines.append("part        ms a step  share")
    for part in STEP_PARTS:
        its = seconds.get(part, 0.0)
        lines.append(f"{part:<10} {1000 * its / num_steps:>10.3f}  {its / in_steps:>5.1%}")
    between = {part: its for part, its in seconds.items() if part not in STEP_PARTS}
    lines += [f"{part:<10} {its:>10.3f} s between these steps" for part, its in between.items()]
    return "\n".join(lines)
