"""Running loss and metrics: sums and counts over samples, never averages of averages."""

from __future__ import annotations

from typing import Any

from trainer.forward import Forward
from utils.running_sum import RunningSum


class Scores:
    """The loss and the metrics of all samples seen since `reset`, and those since they were last looked at.

    metrics: has `update(output, target)`, `compute()`, `means()` (those that are plain means over samples), `reset()`
    and the state of a checkpoint.
    """

    def __init__(self, metrics: Any):
        self.metrics = metrics
        self._loss_sum = RunningSum()
        self.num_samples = 0
        self._seen: dict[str, float] = {}  # the sums at the last look
        self._num_seen = 0

    def update(self, result: Forward, num_samples: int) -> None:
        self._loss_sum.add(result.loss, times=num_samples)
        self.num_samples += num_samples
        self.metrics.update(result.output, result.target)

    def compute(self) -> dict[str, float]:
        """Loss and all metrics over every sample since `reset`."""
        return {"loss": self._mean_loss(), **self.metrics.compute()}

    def compute_recent(self) -> dict[str, float]:
        """Loss and those metrics that are means, over the samples since the last call."""
        means = {"loss": self._mean_loss(), **self.metrics.means()}
        sums = {name: mean * self.num_samples for name, mean in means.items()}
        num_recent = max(1, self.num_samples - self._num_seen)
        recent = {name: (total - self._seen.get(name, 0.0)) / num_recent for name, total in sums.items()}
        self._seen, self._num_seen = sums, self.num_samples
        return recent

    def reset(self) -> None:
        self.metrics.reset()
        self._loss_sum.set(0)
        self.num_samples, self._num_seen, self._seen = 0, 0, {}

    def state_dict(self) -> dict[str, Any]:
        return {
            "loss_sum": self._loss_sum.value(),
            "num_samples": self.num_samples,
            "seen": self._seen,
            "num_seen": self._num_seen,
            "metrics": self.metrics.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._loss_sum.set(state["loss_sum"])
        self.num_samples, self._num_seen = state["num_samples"], state["num_seen"]
        self._seen = dict(state["seen"])
        self.metrics.load_state_dict(state["metrics"])

    def _mean_loss(self) -> float:
        return self._loss_sum.value() / max(1, self.num_samples)
