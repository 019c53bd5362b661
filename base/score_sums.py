"""Running loss and metrics: sums and counts over samples, never averages of averages."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from base.batch import Batch, Forward, map_tensors
from base.named_means import NO_PARTS, NamedMeans
from base.running_mean import RunningMean, recent_values, widest_float
from utils.distributed import gathered, num_ranks, rank
from utils.errors import UserError


class Metric(Protocol):
    """What ScoreSums asks of a metric: `MeanMetric` below, or `model/torch_metric.py`.

    asks: which of `indices` and `training` an update gets besides.
    """

    asks: Collection[str]

    def update(self, output: Any, target: Any, **asked: Any) -> None: ...
    def compute(self) -> dict[str, float]: ...
    def merge(self, state: Mapping[str, Any]) -> None: ...
    def reset(self) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...


class ScoreSums:
    """The loss and the metrics of all samples since `reset`, and those since they were last looked at.

    metrics: by the names that they have in logs. The sums stay on the device until a score is computed from them.
    training: whether the samples are trained on, for metrics that ask. Each process counts its own samples; scores are
    of those of all.
    """

    def __init__(self, metrics: Mapping[str, Metric], training: bool = False):
        self.metrics = metrics
        self.training = training
        self.loss = RunningMean()
        self.named = NamedMeans(taken=["loss", *metrics])
        self.num_samples = 0

    def update(self, result: Forward, batch: Batch) -> None:
        """Add the samples of a batch."""
        if not batch.counts:
            return
        indices = batch.indices
        weight = len(indices) if result.weight is None else result.weight
        self.loss.add_mean(result.loss, weight)
        self.num_samples += len(indices)
        if result.parts or self.named.part_names != NO_PARTS:
            self.named.add_parts(result.parts or {}, weight)
        output = detached(result.output)
        for metric in self.metrics.values():
            if metric.asks:
                asked = {"indices": indices.to(result.loss.device), "training": self.training}
                metric.update(output, result.target, **{name: asked[name] for name in metric.asks})
            else:
                metric.update(output, result.target)

    def compute(self) -> dict[str, float]:
        """Loss and all metrics over every sample since `reset`."""
        named = {name: self.named[name].value() for name in self.named.with_numbers()}
        return _computed(self.metrics, {"loss": self.loss.value(), **named})

    def compute_recent(self) -> dict[str, float]:
        """Loss and those metrics that are means, over the samples since the last call."""
        means = self._means(self.named.with_recent_numbers())
        return dict(zip(means, recent_values(list(means.values())), strict=True))

    @property
    def recent_names(self) -> set[str]:
        """The names of what `compute_recent` returns: the scores that are cheap to read during an epoch."""
        return set(self._means(self.named))

    def reset(self) -> None:
        with torch.inference_mode(False):  # tensors made in inference mode could not be updated outside of it
            for metric in self.metrics.values():
                metric.reset()
        for mean in (self.loss, *self.named.values()):
            mean.reset()
        self.num_samples = 0

    def state_dict(self) -> dict[str, Any]:
        """Plain data and tensors, none of which changes with the next update; of several processes what each has."""
        state = {
            "loss": self.loss.state_dict(),
            "num_samples": self.num_samples,
            "metrics": {name: metric.state_dict() for name, metric in self.metrics.items()},
            "named": self.named.state_dict(),
        }
        return state if num_ranks() == 1 else {"by_rank": gathered(map_tensors(state, Tensor.cpu))}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting. Of more processes than there are now, each takes over from some; of fewer, some from none."""
        self.reset()
        self.named = NamedMeans(taken=["loss", *self.metrics])
        for its in state.get("by_rank", [state])[rank() :: num_ranks()]:
            self.loss.merge(its["loss"])
            self.num_samples += its["num_samples"]
            for name, metric in self.metrics.items():
                metric.merge(its["metrics"][name])
            self.named.merge(its.get("named", {}))  # one of an earlier version has none

    def _means(self, named: Iterable[str]) -> dict[str, RunningMean]:
        means = {name: metric for name, metric in self.metrics.items() if isinstance(metric, MeanMetric)}
        return {"loss": self.loss, **{name: self.named[name] for name in named}, **means}


class MeanMetric(RunningMean):
    """The mean over samples of what a function (output, target) -> (N,) returns.

    Where something else than samples counts, such as the pixels that are not ignored, the function returns for each
    sample a sum and how much it is of, two tensors (N,): the mean is over all of that.
    """

    def __init__(self, name: str, function: Callable[..., Tensor | tuple[Tensor, Tensor]], asks: Collection[str] = ()):
        super().__init__()
        self.name = name
        self.function = function
        self.asks = asks

    def update(self, output: Any, target: Any, **asked: Any) -> None:
        values = self.function(output, target, **asked)
        parts = values if isinstance(values, tuple) and len(values) == 2 else (values,)
        for part in parts:
            num_samples = target.shape[0] if isinstance(target, Tensor) else None  # None: there is no telling
            if not isinstance(part, Tensor) or part.ndim != 1 or len(part) != (num_samples or len(part)):
                what = f"a tensor of shape {tuple(part.shape)}" if isinstance(part, Tensor) else f"{part!r:.80}"
                raise UserError(
                    f"metric {self.name} returned {what}; it must return a tensor of one value per sample, (N,), or "
                    "for each sample a sum and how much it is of, two of them"
                )
        self.add(_sum(parts[0]), _sum(parts[1]) if len(parts) == 2 else len(parts[0]))

    def compute(self) -> dict[str, float]:
        return {self.name: self.value()}


def _sum(values: Tensor) -> Tensor:
    is_answer = values.dtype is torch.bool  # right or wrong, as most metrics say; counting takes half the time
    return values.count_nonzero() if is_answer else values.sum(dtype=widest_float(values.device))


def _computed(metrics: Mapping[str, Metric], scores: dict[str, float]) -> dict[str, float]:
    """The scores, and each metric by name; one of several numbers has their place behind its name: f1_0, f1_1."""
    for metric in metrics.values():
        for name, value in metric.compute().items():
            if name in scores:
                raise UserError(f"metrics: two scores are called '{name}'; give one of their metrics another `name`")
            scores[name] = value
    return scores


def detached(output: Any) -> Any:
    """The output, however nested, without its graph, and in float32 where autocast made it smaller."""
    if isinstance(output, Tensor):
        output = output.detach()
        return output.float() if output.dtype in (torch.float16, torch.bfloat16) else output
    if isinstance(output, Mapping):
        return {key: detached(value) for key, value in output.items()}
    if isinstance(output, (tuple, list)):
        return [detached(value) for value in output]
    return output
