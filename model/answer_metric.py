"""A metric of right and wrong answers, which numbers cannot be."""

from __future__ import annotations

from typing import Any

from base.score_sums import MeanMetric
from utils.errors import UserError


class AnswerMetric(MeanMetric):
    """The mean of right and wrong answers, to targets that are classes, or 0 and 1.

    The first targets since a reset are looked at: to look at all would wait for the device.
    """

    def reset(self) -> None:
        super().reset()
        self._is_new = True

    def update(self, output: Any, target: Any, **asked: Any) -> None:
        if target is None:
            raise UserError(f"metric {self.name} compares with a target, and the samples have none: leave it out")
        if self._is_new and target.is_floating_point() and not ((target == 0) | (target == 1)).all():
            raise UserError(
                f"metric {self.name}: found the target {target.flatten()[0].item():.6g}; expected classes, or 0 and 1; "
                "mean_absolute_error, mean_squared_error and R2Score are for numbers"
            )
        self._is_new = False
        super().update(output, target, **asked)
