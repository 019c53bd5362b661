"""The training loop: when things happen. `trainer/trainer.py` says what one step does."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from base.batch import Batch, Loader
from base.journal import Epoch, Journal, Step
from base.optimizer_state import load_optimizer
from base.plan import BestScore, Plan
from base.score_sums import Metric, ScoreSums
from config.schema import TrainerConfig
from config.units import Every
from utils.checkpoint_writer import CheckpointWriter
from utils.distributed import from_main, of_rank, summed
from utils.errors import UserError, is_devices
from utils.seeding import seed_everything
from utils.stopping import Stopping
from utils.torch_internals import without_compiler

# The types of what the loop itself reads from a checkpoint; docs/architecture.md lists all keys.
COUNTERS = {"step": int, "epoch": int, "is_settled": bool, "valid_scores": dict, "epoch_seconds": float, "logs": dict}


class BaseTrainer:
    """Owns the loop; a subclass owns the step.

    A subclass defines the hooks below, as `trainer/trainer.py` does. It enters what a checkpoint must hold in
    `self.parts`: anything with `state_dict` and `load_state_dict`, by the name of its key in the checkpoint. Random
    numbers need no care: all generators are seeded with the step before each.

    valid_loader: None for a run without validation. metadata: plain data that every checkpoint carries besides the
    state, such as the config and the class names. description: of the model, for the log.
    """

    journal: Journal | None = None  # these two are there while `fit` runs
    checkpoints: CheckpointWriter | None = None

    def __init__(
        self,
        *,
        settings: TrainerConfig,
        plan: Plan,
        seed: int,
        metrics: Mapping[str, Metric],
        train_loader: Loader,
        valid_loader: Loader | None,
        metadata: dict[str, Any],
        description: str = "",
    ):
        self.settings = settings
        self.plan = plan
        self.seed = seed
        self.train_loader = train_loader
        self.valid_loader = valid_loader
        self.metadata = metadata
        self.description = description
        self.train_sums = ScoreSums(copy.deepcopy(metrics), training=True)
        self.valid_sums = ScoreSums(metrics)
        self.parts: dict[str, Any] = {"train_sums": self.train_sums}
        self.best = BestScore(settings.monitor, settings.early_stop)
        self.step = 0  # updates of the weights so far: the only clock
        self.is_settled = True  # False between a step and the end of what was due after it
        self.valid_scores: dict[str, float] = {}  # of the last evaluation in the epoch under way
        self.epoch_seconds = 0.0
        self.num_samples = 0.0  # of the step under way, in all processes
        self._log_every = Every(settings.log_every, "step")
        self.stopping = Stopping(settings.max_time and settings.max_time.seconds)
        self._epoch_started = self._saved = time.monotonic()

    # The hooks of a subclass.

    def train_step(self, batches: list[Batch]) -> None:
        """Update the weights once, from the batches of one step, and add what came of them to `train_sums`."""
        raise NotImplementedError

    def evaluate(self, loader: Loader) -> dict[str, float] | None:
        """Loss and metrics over all of a loader; None when a stop was asked for meanwhile."""
        raise NotImplementedError

    def learning_rates(self) -> dict[str, float]:
        """Those of the last step, by the names that loggers get; metrics.csv gets the one called lr."""
        raise NotImplementedError

    def check_steps(self) -> None:
        """Raise what was found wrong with the steps so far; called before anything of them is told or saved."""

    def after_evaluation(self, scores: dict[str, float]) -> None:
        """Take note of the scores of an evaluation: training's of the epoch so far, and validation's as val_NAME."""

    # The loop.

    def fit(self, journal: Journal, checkpoints: CheckpointWriter) -> str | None:
        """Train to the end of the plan or, within `with trainer.stopping`, until a stop; returns its reason, if any."""
        self.journal, self.checkpoints = journal, checkpoints
        self.journal.start(self.step, self.description)
        self._epoch_started = self._saved = time.monotonic()
        if not self.is_settled:
            self.do_what_is_due()
        while not (self.is_finished or self.stop_reason):
            for batches in self.steps_left_in_epoch():
                self.train_step(batches)
                self.step += 1
                self.checkpoints.poll()
                if self.plan.is_due(self._log_every, self.step):
                    self.check_steps()
                    self.journal.log_step(Step(self.step, self.train_sums.compute_recent(), self.learning_rates()))
                self.do_what_is_due()
                if self.is_finished or self.stop_reason:
                    break
        if self.checkpoints.newest_step != self.step or not self.is_settled:
            self.save()
        if self.is_finished and not self.plan.ends_epoch(self.step):
            self.close_epoch(self.train_sums.compute())  # open in the checkpoint: a longer run goes on in it
        self.checkpoints.wait()
        return None if self.is_finished else self.stop_reason

    def steps_left_in_epoch(self) -> Iterator[list[Batch]]:
        """The batches of each step from here to the end of the epoch; resuming skips indices, never data."""
        epoch, first = self.plan.epoch_of(self.step), self.plan.first_batch(self.step)
        batches = iter(self.train_loader.batches(epoch, first))
        with self.journal.progress(self.step):
            while window := list(itertools.islice(batches, self.plan.accumulate_steps)):
                self.begin_step(window)
                yield window
                self.journal.advance()

    def begin_step(self, batches: Sequence[Batch]) -> None:
        """Seed all generators with the step, and learn how many samples it has in all processes."""
        seed_everything(self.seed, "step", self.step, *of_rank())
        self.num_samples = self.stopping.agree(sum(batch.num_samples for batch in batches))

    def do_what_is_due(self) -> None:
        """What the plan has after this step, in this order. A stop during evaluation leaves it to the resumed run."""
        self.is_settled, is_best = False, False
        is_evaluated = self.plan.is_due(self.settings.eval_every, self.step)
        ends_epoch = self.plan.ends_epoch(self.step)
        if is_evaluated or ends_epoch:
            self.check_steps()
            train_scores = self.train_sums.compute()
        if is_evaluated:
            if self.valid_loader:
                if (scores := self.evaluate(self.valid_loader)) is None:
                    return
                self.valid_scores = {f"val_{name}": value for name, value in scores.items()}
            scores = {**train_scores, **self.valid_scores}
            is_best = self.best.update(scores, self.step)
            self.journal.log_evaluation(self.step, self.valid_scores, is_best)
            self.after_evaluation(scores)
        if ends_epoch:
            self.close_epoch(train_scores)
        self.is_settled = True
        if is_best or self.plan.is_due(self.settings.save_every, self.step, self._minutes_since_save()):
            self.save(is_best)

    def close_epoch(self, train_scores: dict[str, float]) -> None:
        """Tell of the epoch, and forget its sums."""
        self.journal.log_epoch(
            Epoch(
                number=self.plan.epoch_of(self.step - 1) + 1,
                step=self.step,
                train_scores=train_scores,
                valid_scores=self.valid_scores,
                told_by_step=self.train_sums.recent_names,
                learning_rates=self.learning_rates(),
                seconds=self._seconds_in_epoch(),
                num_samples=int(summed(self.train_sums.num_samples)[0]),
                is_best=self.best.step == self.step,
            )
        )
        self.train_sums.reset()
        self.valid_scores = {}
        self.epoch_seconds, self._epoch_started = 0.0, time.monotonic()

    # Stopping.

    @property
    def is_finished(self) -> bool:
        return self.is_settled and (self.step >= self.plan.total_steps or self.best.is_exhausted)

    @property
    def stop_reason(self) -> str | None:
        """Why to stop before the plan's end: the name of a signal, or 'max_time'."""
        return self.stopping.reason

    # The state.

    def save(self, is_best: bool = False) -> None:
        self._saved = time.monotonic()
        self.check_steps()
        self.checkpoints.save(self.state_dict(), self.step, is_best)

    @without_compiler()
    def state_dict(self) -> dict[str, Any]:
        """All that is not a function of the config and the step, as plain data and tensors."""
        return {
            **self.metadata,
            "step": self.step,
            "epoch": self.plan.epoch_of(self.step),
            "is_settled": self.is_settled,
            "best": self.best.state_dict(),
            "valid_scores": self.valid_scores,
            "epoch_seconds": self._seconds_in_epoch(),
            "logs": self.journal.positions(),
            **{name: part.state_dict() for name, part in self.parts.items()},
        }

    @without_compiler()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state` was saved. UserError unless that was a run like this one."""
        try:
            for name, kind in COUNTERS.items():
                if type(state[name]) is not kind:
                    raise TypeError(f"its key '{name}' is {str(state[name])[:80]}")
            if state["epoch"] != (epoch := self.plan.epoch_of(state["step"])):
                here = f"but in epoch {epoch + 1} with this data: has the number of samples changed?"
                raise ValueError(f"its step {state['step']} is in epoch {state['epoch'] + 1}, {here}")
            self.step, self.is_settled = state["step"], state["is_settled"]
            self.valid_scores, self.epoch_seconds = state["valid_scores"], state["epoch_seconds"]
            self.best.load_state_dict(state["best"])
            for name, part in self.parts.items():
                load = load_optimizer if isinstance(part, Optimizer) else type(part).load_state_dict
                load(part, state[name])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if is_devices(error):
                raise
            missing = "it has no key " if isinstance(error, KeyError) else ""
            raise UserError(f"the checkpoint does not fit this run: {missing}{str(error)[:1000]}") from error

    def _seconds_in_epoch(self) -> float:
        return self.epoch_seconds + time.monotonic() - self._epoch_started

    def _minutes_since_save(self) -> float:
        minutes = (time.monotonic() - self._saved) / 60
        return from_main(minutes) if self.settings.save_every.unit == "minute" else minutes
