"""The training loop: when things happen. `trainer/trainer.py` says what one step does."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

from base.plan import Plan
from base.score import BestScore
from config.schema import TrainerConfig
from config.units import Every
from utils.errors import UserError
from utils.seeding import seed_everything
from utils.signals import StopSignals

# What the loop itself keeps in a checkpoint, and as what.
COUNTERS = {"step": int, "epoch": int, "is_settled": bool, "valid_scores": dict, "epoch_seconds": float, "logs": dict}


class BaseTrainer:
    """Owns the loop; a subclass owns the step.

    A subclass defines all of the hooks below, as `trainer/trainer.py` does: `train_step`, `evaluate`, `train_scores`,
    `step_score_names`, `start_epoch`, `learning_rates` and `num_epoch_samples`. It enters what a checkpoint must hold
    in `self.parts`: anything with `state_dict` and `load_state_dict`, by the name of its key in the checkpoint. Random
    numbers need no care: all generators are seeded with the step before each.

    train_loader, valid_loader: have `len()` (batches) and `batches(epoch, first)`; valid_loader may be None.
    header: plain data that every checkpoint carries besides the state: the config, the class names.
    description: of the model, for the log.
    """

    def __init__(
        self,
        *,
        settings: TrainerConfig,
        plan: Plan,
        seed: int,
        train_loader: Any,
        valid_loader: Any,
        header: dict[str, Any],
        description: str = "",
    ):
        self.settings = settings
        self.plan = plan
        self.seed = seed
        self.train_loader = train_loader
        self.valid_loader = valid_loader
        self.header = header
        self.description = description
        self.journal: Any = None  # these two are there while `fit` runs
        self.checkpoints: Any = None
        self.parts: dict[str, Any] = {}
        self.score = BestScore(settings.monitor, settings.early_stop)
        self.step = 0  # updates of the weights so far: the only clock
        self.is_settled = True  # False between a step and the end of what was due after it
        self.valid_scores: dict[str, float] = {}
        self.epoch_seconds = 0.0
        self._log_every = Every(settings.log_every, "step")
        self._signals = StopSignals()
        self._started = self._epoch_started = self._saved = time.monotonic()

    # The hooks of a subclass.

    def train_step(self, batches: list) -> None:
        """Update the weights once, from the batches of one step."""
        raise NotImplementedError

    def evaluate(self, loader) -> dict[str, float] | None:
        """Loss and metrics over all of a loader; None when a stop was asked for meanwhile."""
        raise NotImplementedError

    def train_scores(self, since: str) -> dict[str, float]:
        """Loss and metrics of the training batches since the last 'log' or the start of the 'epoch'."""
        raise NotImplementedError

    @property
    def step_score_names(self) -> set[str]:
        """The scores that are logged during an epoch; its end adds the others."""
        raise NotImplementedError

    def start_epoch(self) -> None:
        """Forget the running sums of the epoch that has ended."""
        raise NotImplementedError

    def learning_rates(self) -> list[float]:
        """Those of the last step, one a group of parameters; the first is the one in metrics.csv."""
        raise NotImplementedError

    @property
    def num_epoch_samples(self) -> int:
        """Training samples seen in the epoch under way."""
        raise NotImplementedError

    # The loop.

    def fit(self, journal: Any, checkpoints: Any) -> str | None:
        """Train to the end of the plan or until a stop; returns the reason of the stop, None at the plan's end.

        journal: takes what is to be logged (trainer/journal.py).
        checkpoints: takes what is to be saved (utils/checkpoint_writer.py).
        """
        self.journal, self.checkpoints = journal, checkpoints
        self.journal.start(self)
        with self._signals:
            self._started = self._epoch_started = self._saved = time.monotonic()
            if not self.is_settled:
                self.settle()
            while not (self.is_finished or self.stop_reason):
                for batches in self.steps_left_in_epoch():
                    self.train_step(batches)
                    self.step += 1
                    self.checkpoints.poll()
                    if self.plan.is_due(self._log_every, self.step):
                        self.journal.log_step(self)
                    self.settle()
                    if self.is_finished or self.stop_reason:
                        break
            if self.checkpoints.newest_step != self.step or not self.is_settled:
                self.save()
            if self.is_finished and not self.plan.ends_epoch(self.step):
                self.close_epoch()  # cut short, but open in the checkpoint: a longer run goes on in it
            self.checkpoints.wait()
        return None if self.is_finished else self.stop_reason

    def settle(self) -> None:
        """Do what is due after a step, in this order. A stop during evaluation leaves it all for the resumed run."""
        self.is_settled, is_best = False, False
        if self.plan.is_due(self.settings.eval_every, self.step):
            scores = self.evaluate(self.valid_loader) if self.valid_loader else {}
            if scores is None:
                return
            is_best = self.judge(scores)
        if self.plan.ends_epoch(self.step):
            self.close_epoch()
        self.is_settled = True
        if is_best or self.plan.is_due(self.settings.save_every, self.step, self._minutes_since_save()):
            self.save(is_best)

    def steps_left_in_epoch(self) -> Iterator[list]:
        """The batches of each step from here to the end of the epoch; resuming skips indices, never data."""
        epoch, first = self.plan.epoch_of(self.step), self.plan.first_batch(self.step)
        batches = iter(self.train_loader.batches(epoch, first))
        with self.journal.progress(self):
            while window := list(itertools.islice(batches, self.plan.accumulate_steps)):
                seed_everything(self.seed, "step", self.step)
                yield window
                self.journal.advance()

    def judge(self, valid_scores: dict[str, float]) -> bool:
        """Take the result of an evaluation; True if it is the best so far."""
        self.valid_scores = {f"val_{name}": value for name, value in valid_scores.items()}
        self.journal.log_evaluation(self)
        return self.score.update({**self.train_scores("epoch"), **self.valid_scores}, self.step)

    def close_epoch(self) -> None:
        self.journal.log_epoch(self)
        self.start_epoch()
        self.valid_scores = {}
        self.epoch_seconds, self._epoch_started = 0.0, time.monotonic()

    def try_out(self) -> str:
        """Take one step and evaluate one batch, writing nothing; returns what to tell the user."""
        self.train_step(list(itertools.islice(self.train_loader.batches(), self.plan.accumulate_steps)))
        scores = self.train_scores("epoch")
        if self.valid_loader:
            scores |= {f"val_{name}": value for name, value in self.evaluate(_FirstBatch(self.valid_loader)).items()}
        return "\n".join([self.description, *(f"{name}: {value:.6g}" for name, value in scores.items())])

    # Stopping.

    @property
    def is_finished(self) -> bool:
        return self.is_settled and (self.step >= self.plan.total_steps or self.score.is_exhausted)

    @property
    def stop_reason(self) -> str | None:
        """Why to stop before the plan's end: the name of a signal, or 'max_time'."""
        if self._signals.received is not None:
            return self._signals.received.name
        max_time = self.settings.max_time
        if max_time is not None and time.monotonic() - self._started >= max_time.seconds:
            return "max_time"
        return None

    # The state.

    def save(self, is_best: bool = False) -> None:
        self._saved = time.monotonic()
        self.checkpoints.save(self.state_dict(), self.step, is_best)

    def state_dict(self) -> dict[str, Any]:
        """All that is not a function of the config and the step, as plain data and tensors."""
        return {
            **self.header,
            "step": self.step,
            "epoch": self.plan.epoch_of(self.step),
            "is_settled": self.is_settled,
            "best": self.score.state_dict(),
            "valid_scores": self.valid_scores,
            "epoch_seconds": self.seconds_in_epoch(),
            "logs": self.journal.positions(),
            **{name: part.state_dict() for name, part in self.parts.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was saved. UserError unless that was a run like this one."""
        try:
            for name, kind in COUNTERS.items():
                if type(state[name]) is not kind:
                    raise TypeError(f"its key '{name}' is {str(state[name])[:80]}")
            self._check_epoch(state["step"], state["epoch"])
            self.step, self.is_settled = state["step"], state["is_settled"]
            self.valid_scores, self.epoch_seconds = state["valid_scores"], state["epoch_seconds"]
            self.score.load_state_dict(state["best"])
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            missing = "it has no key " if isinstance(error, KeyError) else ""
            raise UserError(f"the checkpoint does not fit this run: {missing}{str(error)[:1000]}") from error

    def _check_epoch(self, step: int, epoch: int) -> None:
        expected = self.plan.epoch_of(step)
        if epoch != expected:
            raise ValueError(
                f"its step {step} is in epoch {epoch + 1}, but in epoch {expected + 1} with this data: has the number "
                "of samples changed?"
            )

    def seconds_in_epoch(self) -> float:
        return self.epoch_seconds + time.monotonic() - self._epoch_started

    def _minutes_since_save(self) -> float:
        return (time.monotonic() - self._saved) / 60


class _FirstBatch:
    """A loader's first batch."""

    def __init__(self, loader: Any):
        self.loader = loader

    def batches(self) -> Iterator[Any]:
        return itertools.islice(self.loader.batches(), 1)
