"""What a run tells: the records that the training loop hands over, and where they go."""

from __future__ import annotations

import logging
import shlex
from contextlib import AbstractContextManager
from typing import NamedTuple

from base.loggers import Loggers
from base.plan import BestScore, Plan
from config.schema import Config
from utils.logs import MetricsCsv
from utils.plots import Best, draw_curves
from utils.run_folder import RunFolder
from utils.terminal import Terminal, formatted

logger = logging.getLogger(__name__)


class Step(NamedTuple):
    """A log point. step: updates done; scores: since the log point before; learning_rates: by their names in logs."""

    step: int
    scores: dict[str, float]
    learning_rates: dict[str, float]


class Epoch(NamedTuple):
    """An epoch at its end. number: from 1; told_by_step: those of train_scores that the log points have told; is_best:
    whether its last evaluation was the best so far."""

    number: int
    step: int
    train_scores: dict[str, float]
    valid_scores: dict[str, float]
    told_by_step: set[str]
    learning_rates: dict[str, float]
    seconds: float
    num_samples: int
    is_best: bool


class Journal:
    """Passes records on to metrics.csv, the terminal and the loggers, and draws the curves at the end."""

    def __init__(self, run: RunFolder, plan: Plan, config: Config):
        self.run = run
        self.plan = plan
        self.status = "failed"  # until `finish`
        self.best: Best | None = None
        self.loggers = Loggers(run.path, config)
        self.metrics_csv = MetricsCsv(run.path / "metrics.csv")
        self.terminal = Terminal(
            *(plan.num_epochs, plan.steps_per_epoch, plan.total_steps, config.trainer.progress),
            monitored=config.trainer.monitor and config.trainer.monitor.metric,
        )

    def start(self, step: int, description: str) -> None:
        """Say what is about to run, after `step` done steps."""
        self.loggers.start()
        self.terminal.start(step)
        if step == 0:
            logger.info("%s\n", description)
        else:
            logger.info("going on after step %s of %s", f"{step:,}", f"{self.plan.total_steps:,}")
        length = f"{self.plan.total_steps:,} steps, {self.plan.steps_per_epoch:,} an epoch"
        logger.info("%s: %s", self.run.path, length)

    def finish(self, step: int, best: BestScore, stop_reason: str | None, split: str) -> None:
        """Say why the run ends, and what to do next. split: the part of the data to evaluate on."""
        self.status = "finished" if stop_reason is None else "stopped"
        self.best = None if best.value is None else Best(best.monitor.metric, best.value, best.step)
        run = shlex.quote(str(self.run.path))
        again = f"python train.py -r {run}"
        if stop_reason is not None:
            logger.info("stopped by %s after step %s; to go on: %s", stop_reason, f"{step:,}", again)
            return
        if best.is_exhausted:
            reason = f"no better {best.monitor.metric} in {best.num_bad_evaluations} evaluations"
            logger.info("early stop: %s; to go on: %s trainer.early_stop=N", reason, again)
        if best.value is not None:
            logger.info("best: %s %s, at step %s", best.monitor.metric, formatted(best.value), f"{best.step:,}")
        logger.info("finished; to evaluate: python test.py -r %s", run if split == "test" else f"{run} --split {split}")

    def progress(self, step: int) -> AbstractContextManager[None]:
        """A bar over the steps of the epoch that the next step belongs to, on a terminal."""
        return self.terminal.progress(step)

    def advance(self) -> None:
        """One step is done."""
        self.terminal.advance()

    def log_step(self, point: Step) -> None:
        """The loggers get the scores and the learning rates."""
        self.loggers.log(point.step, {**point.scores, **point.learning_rates})
        self.terminal.show_loss(point.scores["loss"])

    def log_evaluation(self, step: int, valid_scores: dict[str, float], is_best: bool) -> None:
        """A row on the terminal where no epoch's row is about to tell the same."""
        self.loggers.log(step, valid_scores)
        if not self.plan.ends_epoch(step):
            self.terminal.tell_evaluation(step, valid_scores, is_best)

    def log_epoch(self, epoch: Epoch) -> None:
        """One row of metrics.csv, one on the terminal."""
        untold = {name: value for name, value in epoch.train_scores.items() if name not in epoch.told_by_step}
        self.loggers.log(epoch.step, untold)
        row = {"epoch": epoch.number, "step": epoch.step, "scores": {**epoch.train_scores, **epoch.valid_scores}}
        row |= {"seconds": epoch.seconds, "samples_per_second": epoch.num_samples / epoch.seconds}
        self.metrics_csv.write(**row, lr=epoch.learning_rates["lr"])
        self.terminal.tell_epoch(**row, learning_rates=epoch.learning_rates, is_best=epoch.is_best)

    def positions(self) -> dict[str, int]:
        """How far every log file has been written: a run that resumes goes on from there."""
        self.loggers.flush()
        return self.run.positions()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.terminal.close()
        self.loggers.close(self.status)
        title = f"{self.run.path.parent.name}/{self.run.path.name}"
        draw_curves(self.run.path / "metrics.csv", self.run.path / "curves.png", title, self.best)
