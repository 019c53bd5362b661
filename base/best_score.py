"""The best score of a run so far, and the patience that is left."""

from __future__ import annotations

import math
from typing import Any

from config.units import Monitor


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
