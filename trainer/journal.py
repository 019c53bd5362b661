"""What a run tells: metrics.csv, the loggers, the lines on the terminal and the progress bar."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from base import LOGGERS
from base.plan import Plan
from config.schema import TrainerConfig
from trainer.batch import is_picture_batch
from trainer.forward import ModelInputs
from utils.logs import MetricsCsv
from utils.plots import draw_curves
from utils.run_folder import RunFolder

logger = logging.getLogger(__name__)


class Journal:
    """Takes the scores of a run and passes them on to metrics.csv, the terminal and the loggers."""

    def __init__(self, run: RunFolder, plan: Plan, settings: TrainerConfig):
        self.run = run
        self.plan = plan
        self.loggers = build_loggers(settings, run.path)
        self.metrics_csv = MetricsCsv(run.path / "metrics.csv")
        self.show_progress = settings.progress and sys.stderr.isatty()
        self._bar: Any = None
        self._widths: dict[str, int] = {}  # of the columns of the epochs' lines, as far as they have grown
        self._started, self._first_step = time.monotonic(), 0

    def start(self, trainer: Any) -> None:
        """Say what is about to run."""
        self._started, self._first_step = time.monotonic(), trainer.step
        if trainer.step == 0:
            logger.info("%s\n", trainer.description)
        else:
            logger.info("going on after step %s of %s", f"{trainer.step:,}", f"{self.plan.total_steps:,}")
        length = f"{self.plan.total_steps:,} steps, {self.plan.steps_per_epoch:,} an epoch"
        logger.info("%s: %s", self.run.path, length)

    def finish(self, trainer: Any, stop_reason: str | None) -> None:
        """Say why the run ends, and what to do next."""
        best = trainer.score
        if stop_reason is not None:
            logger.info(
                "stopped by %s after step %s; to go on: python train.py -r %s",
                stop_reason,
                f"{trainer.step:,}",
                self.run.path,
            )
            return
        if best.is_exhausted:
            logger.info(
                "early stop: no better %s in %d evaluations; to go on: python train.py -r %s trainer.early_stop=N",
                best.monitor.metric,
                best.num_bad_evaluations,
                self.run.path,
            )
        if best.value is not None:
            logger.info("best: %s %s, at step %s", best.monitor.metric, formatted(best.value), f"{best.step:,}")
        logger.info("finished; to evaluate: python test.py -r %s", self.run.path)

    @contextlib.contextmanager
    def progress(self, trainer: Any) -> Iterator[None]:
        """A bar over the steps of an epoch, on a terminal."""
        if not self.show_progress:
            yield
            return
        from tqdm import tqdm

        epoch = self.plan.epoch_of(trainer.step)
        self._bar = tqdm(
            total=self.plan.steps_per_epoch,
            initial=trainer.step % self.plan.steps_per_epoch,
            desc=f"epoch {epoch + 1}/{self.plan.num_epochs}",
            unit="step",
            leave=False,
            dynamic_ncols=True,
        )
        try:
            yield
        finally:
            self._close_bar()

    def advance(self) -> None:
        """One step is done."""
        if self._bar is not None:
            self._bar.update()

    def log_step(self, trainer: Any) -> None:
        """Scores since the last log point, and the learning rates: lr, and lr/1, lr/2, ... of further groups."""
        scores = trainer.train_scores("log")
        rates = {f"lr/{i}" if i else "lr": rate for i, rate in enumerate(trainer.learning_rates())}
        self._log(trainer.step, {**scores, **rates})
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss={scores['loss']:.4f}", refresh=False)

    def log_evaluation(self, trainer: Any) -> None:
        self._log(trainer.step, trainer.valid_scores)
        if trainer.valid_scores and not self.plan.ends_epoch(trainer.step):
            scores = (f"{name} {formatted(value)}" for name, value in trainer.valid_scores.items())
            logger.info("step %s  %s", f"{trainer.step:,}", "  ".join(scores))

    def log_epoch(self, trainer: Any) -> None:
        """One row of metrics.csv, one line on the terminal."""
        scores = trainer.train_scores("epoch")
        logged = trainer.step_score_names
        self._log(trainer.step, {name: value for name, value in scores.items() if name not in logged})
        lr = trainer.learning_rates()[0]
        epoch, seconds = self.plan.epoch_of(trainer.step - 1) + 1, trainer.seconds_in_epoch()
        rate = trainer.num_epoch_samples / seconds
        scores = {**scores, **trainer.valid_scores}
        self.metrics_csv.write(
            epoch=epoch,
            step=trainer.step,
            scores=scores,
            lr=lr,
            seconds=seconds,
            samples_per_second=rate,
        )
        columns = {name: formatted(value) for name, value in scores.items()}
        columns |= {"lr": f"{lr:.2e}"}
        logger.info(
            "epoch %*d/%d  %s  %s samples/s  %s left",
            len(str(self.plan.num_epochs)),
            epoch,
            self.plan.num_epochs,
            "  ".join(f"{name} {self._aligned(name, text)}" for name, text in columns.items()),
            self._aligned("samples/s", f"{rate:,.0f}"),
            self._aligned("left", duration(self._seconds_left(trainer.step))),
        )

    def log_pictures(self, step: int, inputs: ModelInputs) -> None:
        """A sample of the first batch, as the model sees it."""
        picture = next((x for x in (*inputs.args, *inputs.kwargs.values()) if is_picture_batch(x)), None)
        if picture is None or picture.shape[1] not in (1, 3):
            return
        for each in self.loggers:
            if hasattr(each, "log_pictures"):
                each.log_pictures(step, picture[:16].float().cpu())

    def positions(self) -> dict[str, int]:
        """How far every log file has been written: a run that resumes goes on from there."""
        for each in self.loggers:
            each.flush()
        return self.run.positions()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self._close_bar()
        for each in self.loggers:
            each.close()
        draw_curves(self.run.path / "metrics.csv", self.run.path / "curves.png")

    def _log(self, step: int, scores: dict[str, float]) -> None:
        for each in self.loggers:
            each.log(step, scores)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _aligned(self, column: str, text: str) -> str:
        self._widths[column] = max(len(text), self._widths.get(column, 0))
        return text.rjust(self._widths[column])

    def _seconds_left(self, step: int) -> float:
        num_done = max(1, step - self._first_step)
        return (time.monotonic() - self._started) / num_done * (self.plan.total_steps - step)


def build_loggers(settings: TrainerConfig, folder: Path) -> list[Any]:
    """TensorBoard, unless it is switched off, and the loggers that the config names."""
    loggers = [LOGGERS.build("TensorBoard", {}, folder=folder)] if settings.tensorboard else []
    return loggers + [LOGGERS.build(each.type, each.args, folder=folder) for each in settings.loggers]


def formatted(value: float) -> str:
    """`0.9712`: four decimals, or scientific where they say nothing."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"


def duration(seconds: float) -> str:
    """`1:02:03`, or `2:03` under an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
