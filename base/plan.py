"""When things happen, as a function of the step."""

from __future__ import annotations

import math

from config.units import Every


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
