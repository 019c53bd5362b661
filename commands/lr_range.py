"""The learning-rate range test (Smith 2017, arXiv:1506.01186): python train.py -c config/digits.yaml --find-lr"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from base.base_trainer import BaseTrainer
from base.batch import Batch
from config.schema import Config, LRSchedulerConfig
from trainer.loss_guard import NonFiniteLossError
from trainer.rehearsal import put_back
from trainer.trainer import Trainer
from utils.distributed import is_main
from utils.errors import UserError
from utils.files import make_folder, write_durably
from utils.run_folder import parent_of_runs

LOWEST, HIGHEST, NUM_STEPS = 1e-7, 10.0, 100
SMOOTHING = 0.8  # the share of the past in the loss that is looked at
WINDOW = 12  # steps, nearly a power of ten, over which the loss is seen to fall
OUT_OF_BOUNDS = 4.0  # times the lowest loss: nothing comes after that
LEAST_FALL = 0.05  # of the loss, or there is nothing to suggest


class Ramp:
    """In place of the schedule: all learning rates grow by the same factor from step to step."""

    is_plateau = False

    def __init__(self, trainer: Trainer):
        self._groups = [group for each in trainer.optimizers.values() for group in each.param_groups]
        self.firsts = [float(group["lr"]) for group in self._groups]
        if not self.firsts[0] > 0:
            raise UserError("--find-lr multiplies the learning rates of the config: the first of them is 0")

    def rate_at(self, step: int) -> float:
        """Of the first group of parameters."""
        return LOWEST * (HIGHEST / LOWEST) ** (step / (NUM_STEPS - 1))

    def before_step(self, step: int) -> None:
        for group, first in zip(self._groups, self.firsts, strict=True):
            rate = self.rate_at(step) * first / self.firsts[0]
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate


def find_lr(trainer: BaseTrainer, config: Config) -> str:
    """Train with rates from very small to far too large, put everything back, and draw the loss; returns what to tell.

    UserError for a trainer that has no optimizers of its own.
    """
    if not isinstance(trainer, Trainer):
        raise UserError(f"--find-lr: {type(trainer).__name__} is no Trainer, and has no optimizers that can be tried")
    ramp, schedule, step = Ramp(trainer), trainer.lr_schedule, trainer.step
    with put_back(trainer):
        trainer.lr_schedule = ramp
        try:
            losses = smoothed(list(_losses(trainer)))
        finally:
            trainer.lr_schedule, trainer.step = schedule, step
    rates = [ramp.rate_at(i) for i in range(len(losses))]
    best = suggestion(rates, losses)
    told = [f"{len(losses)} steps with learning rates from {rates[0]:.0e} to {rates[-1]:.1e}"]
    if best is None:
        told.append("no suggestion: the loss did not fall with any of them")
    else:
        lowest = rates[losses.index(min(losses))]
        told.append(f"the loss was lowest at {lowest:.1e}, and fell fastest at {best:.1e}")
        told.append(f"to try: {_keys(trainer, config, ramp, best)}")
    if is_main():
        path = parent_of_runs(config.trainer.save_dir, config.name) / "lr_range.png"
        make_folder(path.parent)
        _draw(rates, losses, best, path)
        told.append(f"the curve is in {path}")
    return "\n".join(told)


def _losses(trainer: Trainer) -> Iterator[float]:
    """The loss after each step, which the batch of the next one shows; ends where it has left all bounds."""
    lowest, trainer.step = math.inf, 0
    trainer.train_sums.reset()
    for batches in itertools.islice(_steps(trainer), NUM_STEPS + 1):
        trainer.begin_step(batches)
        try:
            trainer.train_step(batches)
        except NonFiniteLossError:
            return
        loss = trainer.train_sums.compute_recent()["loss"]
        if not math.isfinite(loss):
            return
        if trainer.step > 0:
            yield loss
        lowest = min(lowest, loss)
        if trainer.step > NUM_STEPS // 10 and loss > OUT_OF_BOUNDS * abs(lowest) + 1e-12:
            return
        trainer.step += 1


def _steps(trainer: Trainer) -> Iterator[list[Batch]]:
    """The batches of one step after the other, epoch after epoch."""
    for epoch in itertools.count():
        batches = iter(trainer.train_loader.batches(epoch))
        while window := list(itertools.islice(batches, trainer.plan.accumulate_steps)):
            yield window


def smoothed(losses: Sequence[float]) -> list[float]:
    """Running means with less and less of the past. UserError for too few to say anything."""
    if len(losses) < 3:
        raise UserError("--find-lr: the loss is nan or infinite from the start; look at the data and the first weights")
    mean, means = 0.0, []
    for i, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        means.append(mean / (1 - SMOOTHING**i))
    return means


def suggestion(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate with which the loss falls fastest, on a logarithmic axis, before its lowest point; None of no fall."""
    lowest = losses.index(min(losses))
    before = losses[: lowest + 1]
    if lowest == 0 or before[0] - before[-1] < LEAST_FALL * abs(before[0]):
        return None
    # Over WINDOW steps: from one step to the next, batches differ more than the rate does.
    slopes = [before[min(i + WINDOW, lowest)] - before[i] for i in range(max(1, lowest - WINDOW + 1))]
    return rates[slopes.index(min(slopes)) + min(WINDOW, lowest) // 2]


def _keys(trainer: Trainer, config: Config, ramp: Ramp, rate: float) -> str:
    """The overrides that set the rates of the first group of each optimizer; others are to grow by the same factor."""
    told, place = [], 0
    for name, optimizer in trainer.optimizers.items():
        is_lone = not isinstance(config.optimizer, dict)
        schedule = config.lr_scheduler.get(name) if isinstance(config.lr_scheduler, dict) else config.lr_scheduler
        has_own = isinstance(config.lr_scheduler, dict)
        key = "optimizer.args.lr" if is_lone else f"optimizer.{name}.args.lr"
        if isinstance(schedule, LRSchedulerConfig) and "max_lr" in schedule.args:  # which sets the rate itself
            key = f"lr_scheduler.{name}.args.max_lr" if has_own else "lr_scheduler.args.max_lr"
        told.append(f"{key}={rate * ramp.firsts[place] / ramp.firsts[0]:.1e}")
        place += len(optimizer.param_groups)
    more = "" if place == len(told) else "; the rates of further parameter groups by the same factor"
    return " ".join(dict.fromkeys(told)) + more


def _draw(rates: Sequence[float], losses: Sequence[float], best: float | None, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(title="learning-rate range test")
    axes.plot(rates, losses, color="#0072B2", linewidth=1.8)
    if best is not None:
        axes.axvline(best, color="#D55E00", linestyle="dashed", label=f"falls fastest: {best:.1e}")
        axes.legend(frameon=False)
    start = losses[0]
    axes.set_ylim(min(losses) - 0.05 * abs(start), max(start, sorted(losses)[len(losses) // 2]) + 0.3 * abs(start))
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("training loss, smoothed")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    write_durably(path, lambda file: figure.savefig(file, format="png", dpi=120))
