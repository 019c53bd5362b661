"""This project's part in the benchmarks: a config as plain data, trained in a temporary folder."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from typing import Any

from benchmarks.harness import clock
from config.load import check_config, document_from
from experiment import build_trainer
from script import load_registries


class Terminal(io.StringIO):
    """Where the progress bar goes: a terminal as far as it can tell."""

    def isatty(self) -> bool:
        return True


def checked(config: dict[str, Any]) -> Any:
    return check_config(document_from({"name": "benchmark", "device": "cpu", **config}, "benchmark"), load_registries)


def fit(config: dict[str, Any]) -> float:
    """Train as train.py does, progress bar, TensorBoard, metrics and checkpoints included; the seconds of `fit`."""
    from base.journal import Journal
    from utils.checkpoint_folder import CheckpointFolder
    from utils.checkpoint_writer import CheckpointWriter
    from utils.run_folder import RunFolder

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(Terminal()):
        checked_config = checked(config)
        trainer = build_trainer(checked_config)
        run = RunFolder.create(folder, "benchmark")
        run.lock()
        checkpoints = CheckpointWriter(CheckpointFolder(run.checkpoints))
        with Journal(run, trainer.plan, checked_config) as journal:
            start = clock()
            trainer.fit(journal, checkpoints)
            seconds = clock() - start
        run.unlock()
    return seconds


def first_step(config: dict[str, Any], step: int = 0) -> tuple[float, Any]:
    """Seconds from a config to the end of the first training step after `step` done ones, and the trainer."""
    start = clock()
    trainer = build_trainer(checked(config))
    epoch, first = trainer.plan.epoch_of(step), trainer.plan.first_batch(step)
    trainer.step = step
    trainer.train_step([next(iter(trainer.train_loader.batches(epoch, first)))])
    return clock() - start, trainer


def resident_megabytes(peak: bool = False) -> float:
    import resource

    if peak:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20
