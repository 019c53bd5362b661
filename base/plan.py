"""When things happen: by the step, and by the scores."""

from __future__ import annotations

import math
from typing import Any

from config.units import Every, Monitor


class Plan:
    """The length of a run and the one predicate that tells whether it is time for something.

    A step is one update of the weights, from `accumulate_steps` batches; the last step of an epoch may have fewer.
    The steps done are the only clock: the epoch and the batch within it follow from them.
    """

    def __init__(self, num_batches: int, epochs: int | None, max_steps: int | None, accumulate_steps: int = 1):
        self.accumulate_steps = accumulate_steps
        self.steps_per_epoch = math.ceil(num_batches / accumulate_steps)
        self.total_steps = max_steps or epochs * self.steps_per_epoch
        self.num_epochs = math.ceil(self.total_steps / self.steps_per_epoch)

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, that the step after `step` done ones belongs to."""
        return step // self.steps_per_epoch

    def first_batch(self, step: int) -> int:
        """The batch, from 0, within its epoch, with which the step after `step` done ones begins."""
        return step % self.steps_per_epoch * self.accumulate_steps

    def ends_epoch(self, step: int) -> bool:
        return step % self.steps_per_epoch == 0

    def is_due(self, every: Every, step: int, minutes_since: float = 0.0) -> bool:
        """Is it time, after `step` steps, for what happens every so often? Always so after the last step."""
        if step == self.total_steps:
            return True
        if every.unit == "minute":
            return minutes_since >= every.count
        period = every.count * (self.steps_per_epoch if every.unit == "epoch" else 1)
        return step % period == 0


class BestScore:
    """Follows the monitored metric from evaluation to evaluation.

    early_stop: evaluations without improvement after which `is_exhausted`; 0 for never.
    """

    def __init__(self, monitor: Monitor | None, early_stop: int = 0):
        self.monitor = monitor
        self.early_stop = early_stop
        self.value: float | None = None
        self.step = 0
        self.num_bad_evaluations = 0

    def update(self, scores: dict[str, float], step: int) -> bool:
        """Take the scores of an evaluation; True if they are the best so far."""
        if self.monitor is None:
            return False
        score = scores[self.monitor.metric]
        if not math.isfinite(score):
            is_better = False
        elif self.value is None:
            is_better = True
        else:
            is_better = score > self.value if self.monitor.mode == "max" else score < self.value
        if is_better:
            self.value, self.step, self.num_bad_evaluations = score, step, 0
        else:
            self.num_bad_evaluations += 1
        return is_better

    @property
    def is_exhausted(self) -> bool:
        return 0 < self.early_stop <= self.num_bad_evaluations

    def state_dict(self) -> dict[str, Any]:
        metric = self.monitor.metric if self.monitor else None
        return {
            "metric": metric,
            "value": self.value,
            "step": self.step,
            "num_bad_evaluations": self.num_bad_evaluations,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = None if state["value"] is None else float(state["value"])
        self.step, self.num_bad_evaluations = int(state["step"]), int(state["num_bad_evaluations"])
