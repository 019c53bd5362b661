"""A metric of right and wrong answers, which numbers cannot be."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from base.score_sums import MeanMetric
from model.metric_inputs import MetricInputs
from utils.errors import UserError


class AnswerMetric(MeanMetric):
    """The mean of right and wrong answers, to targets that are classes, or 0 and 1.

    The first targets since a reset are looked at: to look at all would wait for the device.
    """

    def __init__(self, name: str, function: Callable[..., Any], asks: Collection[str], inputs: MetricInputs):
        super().__init__(name, lambda output, target: function(*inputs.answers(output, target)), asks)
        self.inputs = inputs

    def reset(self) -> None:
        super().reset()
        self._is_new = True

    def update(self, output: Any, target: Any, **asked: Any) -> None:
        if target is None:
            raise UserError(f"metric {self.name} compares with a target, and the samples have none: leave it out")
        _, answer = self.inputs.answers(output, target)
        if self._is_new and answer.is_floating_point() and not ((answer == 0) | (answer == 1)).all():
            raise UserError(
                f"metric {self.name}: found the target {target.flatten()[0].item():.6g}; expected classes, or 0 and 1; "
                "mean_absolute_error, mean_squared_error and R2Score are for numbers"
            )
        self._is_new = False
        super().update(output, target, **asked)
