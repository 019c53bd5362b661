"""Metrics accumulated over samples: sums and counts, never averages of averages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from model.torch_metric import TorchMetric
from utils.errors import UserError
from utils.running_sum import RunningSum, widest_float


class MetricSums:
    """Several metrics over all samples since `reset`: sums and counts on the device, read by `compute`."""

    def __init__(self, metrics: dict[str, MeanMetric | TorchMetric]):
        self.metrics = metrics

    def update(self, output: Any, target: Any) -> None:
        """Add the samples of a batch; nothing here waits for the device."""
        output = _detached(output)
        for metric in self.metrics.values():
            metric.update(output, target)

    def compute(self) -> dict[str, float]:
        """Each metric by name; one that holds several numbers has their place behind its name, as in f1_0, f1_1."""
        return {name: value for metric in self.metrics.values() for name, value in metric.compute().items()}

    def means(self) -> dict[str, float]:
        """Those metrics that are plain means over samples: the ones that are cheap to read in mid-epoch."""
        means = [metric for metric in self.metrics.values() if isinstance(metric, MeanMetric)]
        return {name: value for metric in means for name, value in metric.compute().items()}

    def reset(self) -> None:
        with torch.inference_mode(False):  # tensors made in inference mode could not be updated outside of it
            for metric in self.metrics.values():
                metric.reset()

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors, none of which changes with the next update."""
        return {name: metric.state_dict() for name, metric in self.metrics.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, metric in self.metrics.items():
            metric.load_state_dict(state[name])


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
