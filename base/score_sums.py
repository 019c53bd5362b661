"""Running loss and metrics: sums and counts over samples, never averages of averages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from base.batch import Forward
from utils.errors import UserError


class Metric(Protocol):
    """What ScoreSums asks of a metric: `MeanMetric` below, or `model/torch_metric.py`."""

    def update(self, output: Any, target: Any) -> None: ...
    def compute(self) -> dict[str, float]: ...
    def reset(self) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class ScoreSums:
    """The loss and the metrics of all samples since `reset`, and those since they were last looked at.

    metrics: by the names that they have in logs. The sums stay on the device until a score is computed from them.
    """

    def __init__(self, metrics: Mapping[str, Metric]):
        self.metrics = metrics
        self._loss_sum = RunningSum()
        self.num_samples = 0
        self._seen: dict[str, float] = {}  # the sums at the last look
        self._num_seen = 0

    def update(self, result: Forward, num_samples: int) -> None:
        """Add the samples of a batch."""
        self._loss_sum.add(result.loss, times=num_samples)
        self.num_samples += num_samples
        output = _detached(result.output)
        for metric in self.metrics.values():
            metric.update(output, result.target)

    def compute(self) -> dict[str, float]:
        """Loss and all metrics over every sample since `reset`."""
        return {"loss": self._mean_loss(), **_computed(self.metrics)}

    def compute_recent(self) -> dict[str, float]:
        """Loss and those metrics that are means, over the samples since the last call."""
        means = {"loss": self._mean_loss(), **_computed(self._means())}
        sums = {name: mean * self.num_samples for name, mean in means.items()}
        num_recent = max(1, self.num_samples - self._num_seen)
        recent = {name: (total - self._seen.get(name, 0.0)) / num_recent for name, total in sums.items()}
        self._seen, self._num_seen = sums, self.num_samples
        return recent

    @property
    def recent_names(self) -> set[str]:
        """The names of what `compute_recent` returns: the scores that are cheap to read during an epoch."""
        return {"loss", *self._means()}

    def reset(self) -> None:
        with torch.inference_mode(False):  # tensors made in inference mode could not be updated outside of it
            for metric in self.metrics.values():
                metric.reset()
        self._loss_sum.set(0)
        self.num_samples, self._num_seen, self._seen = 0, 0, {}

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors, none of which changes with the next update."""
        return {
            "loss_sum": self._loss_sum.value(),
            "num_samples": self.num_samples,
            "seen": self._seen,
            "num_seen": self._num_seen,
            "metrics": {name: metric.state_dict() for name, metric in self.metrics.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._loss_sum.set(state["loss_sum"])
        self.num_samples, self._num_seen = state["num_samples"], state["num_seen"]
        self._seen = dict(state["seen"])
        for name, metric in self.metrics.items():
            metric.load_state_dict(state["metrics"][name])

    def _mean_loss(self) -> float:
        return self._loss_sum.value() / max(1, self.num_samples)

    def _means(self) -> dict[str, Metric]:
        return {name: metric for name, metric in self.metrics.items() if isinstance(metric, MeanMetric)}


class MeanMetric:
    """The mean over samples of what a function (output, target) -> (N,) returns."""

    def __init__(self, name: str, function: Callable[[Any, Any], Tensor]):
        self.name = name
        self.function = function
        self._sum = RunningSum()
        self._count = 0

    def update(self, output: Any, target: Any) -> None:
        values = self.function(output, target)
        num_values = values.numel()
        if values.ndim != 1 or (isinstance(target, Tensor) and num_values != target.shape[0]):
            raise UserError(
                f"metric {self.name} returned a tensor of shape {tuple(values.shape)}; it must return one value per "
                "sample, (N,)"
            )
        is_answer = values.dtype is torch.bool  # right or wrong, as most metrics say; counting takes half the time
        self._sum.add(values.count_nonzero() if is_answer else values.sum(dtype=widest_float(values.device)))
        self._count += num_values

    def compute(self) -> dict[str, float]:
        return {self.name: self._sum.value() / self._count if self._count else float("nan")}

    def reset(self) -> None:
        self._sum.set(0)
        self._count = 0

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self._sum.value(), "count": self._count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._sum.set(state["sum"])
        self._count = state["count"]


class RunningSum:
    """The sum of numbers that come in tensors (), in float64, kept where they are: a GPU is not waited for."""

    def __init__(self):
        self._sum: float | Tensor = 0.0  # a tensor from the first number on that comes from a GPU

    def add(self, number: Tensor, times: int = 1) -> None:
        """Add `number`, a tensor () on any device, `times` times."""
        if number.is_cpu:
            self._sum += number.item() * times
            return
        if not isinstance(self._sum, Tensor):
            with torch.inference_mode(False):  # made in inference mode, it could not be added to outside of it
                self._sum = torch.full((), self._sum, dtype=widest_float(number.device), device=number.device)
        self._sum.add_(number.detach(), alpha=times)

    def value(self) -> float:
        return float(self._sum)

    def set(self, value: float | Tensor) -> None:
        self._sum = float(value)


def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 on Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64


def _computed(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Each metric by name; one that holds several numbers has their place behind its name, as in f1_0, f1_1."""
    return {name: value for metric in metrics.values() for name, value in metric.compute().items()}


def _detached(output: Any) -> Any:
    """The output, however nested, without its graph, and in float32 where autocast made it smaller."""
    if isinstance(output, Tensor):
        output = output.detach()
        return output.float() if output.dtype in (torch.float16, torch.bfloat16) else output
    if isinstance(output, Mapping):
        return {key: _detached(value) for key, value in output.items()}
    if isinstance(output, (tuple, list)):
        return [_detached(value) for value in output]
    return output
