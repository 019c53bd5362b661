"""95 % intervals of an evaluation's scores by the bootstrap: over samples drawn again, with replacement, many times.

Source: B. Efron, R. Tibshirani (1993), An Introduction to the Bootstrap, the percentile interval.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from base.batch import Batch, Forward, map_tensors
from base.score_sums import MeanMetric, Metric, detached
from utils.distributed import gathered
from utils.errors import is_devices

MOST_RESAMPLES, FEWEST_RESAMPLES = 1000, 100
SAMPLES_DRAWN = 2e8  # in all, for means, of which 100,000 samples still get all resamples but for half
MOST_ELEMENTS = 2.5e8  # of outputs that metrics are computed on again, in all; it takes a few seconds
DEAR = 10.0  # so much longer takes an element where a metric keeps all outputs, as those that sort them do
MOST_KEPT = 2**28  # bytes of outputs and targets
MOST_WITHOUT_VALUE = 0.05  # of the resamples, as where a rare class is in none of their samples
TOLERANCE = 1e-4

Scorer = Callable[[Tensor], dict[str, float]]
LossesBySample = Callable[[Any, Any, Tensor], dict[str, tuple[Tensor, Tensor]]]
MISTAKES = (TypeError, ValueError, RuntimeError, IndexError)  # of losses and metrics on other samples than usual


class Intervals(NamedTuple):
    """By score: the interval, of how many resamples it is made, and why there is none."""

    bounds: dict[str, list[float]]
    num_resamples: dict[str, int]
    reasons: dict[str, str]


class Samples:
    """What each sample of an evaluation adds to its scores: of means a sum and a weight; for other metrics the output.

    losses_by_sample: (output, target, indices) -> by the name of a score, sums and weights, float64 (N,) on the CPU.
    """

    def __init__(self, metrics: Mapping[str, Metric], losses_by_sample: LossesBySample):
        self.means = {name: metric for name, metric in metrics.items() if isinstance(metric, MeanMetric)}
        self.others = {name: metric for name, metric in metrics.items() if name not in self.means}
        self.reasons: dict[str, str] = {}
        self._losses_by_sample: LossesBySample | None = losses_by_sample
        self._parts: dict[str, list[Tensor]] = {}  # of each batch float64 (N, 2)
        self._indices: list[Tensor] = []
        self._kept: list[Any] = []  # of each batch output and target
        self._num_bytes = 0

    def visit(self, batch: Batch, result: Forward) -> None:
        """Take the samples of a batch."""
        result = result._replace(output=detached(result.output))  # as metrics get it
        self._indices.append(batch.indices)
        indices = batch.indices.to(result.loss.device)
        if self._losses_by_sample is not None:
            self._add_losses(result, indices)
        for name, metric in self.means.items():
            asked = {"indices": indices, "training": False}
            values = metric.function(result.output, result.target, **{key: asked[key] for key in metric.asks})
            sums, weights = values if isinstance(values, tuple) else (values, torch.ones(len(values)))
            self._add(name, sums.cpu().double(), weights.cpu().double())
        if self.others and self._num_bytes <= MOST_KEPT:
            self._keep(result)

    def _add_losses(self, result: Forward, indices: Tensor) -> None:
        try:
            of_batch = self._losses_by_sample(result.output, result.target, indices)
        except MISTAKES as error:
            if is_devices(error):
                raise
            self.reasons["loss"] = f"the loss cannot be had of single samples: {error}"
            self._losses_by_sample = None
            return
        for name, (sums, weights) in of_batch.items():
            self._add(name, sums, weights)

    def _add(self, name: str, sums: Tensor, weights: Tensor) -> None:
        self._parts.setdefault(name, []).append(torch.stack([sums, weights], dim=1))

    def _keep(self, result: Forward) -> None:
        kept = map_tensors((result.output, result.target), Tensor.cpu)
        map_tensors(kept, self._count)
        self._kept.append(kept)
        if self._num_bytes > MOST_KEPT:
            self._kept = []
            reason = f"the outputs take more than {MOST_KEPT / 2**20:.0f} MB"
            self.reasons |= dict.fromkeys(self.others, reason)

    def _count(self, tensor: Tensor) -> None:
        self._num_bytes += tensor.nbytes

    def put_together(self) -> None:
        """Have the samples of all processes, in the order of the dataset: a collective."""
        of_all = gathered((self._indices, self._parts, self._kept, self.reasons))
        indices = torch.cat([*itertools.chain.from_iterable(each[0] for each in of_all), torch.empty(0).long()])
        self._order = indices.argsort(stable=True)
        self._parts = {
            name: [*itertools.chain.from_iterable(each[1].get(name, []) for each in of_all)]
            for each in of_all
            for name in each[1]
        }
        for each in of_all:
            self.reasons |= each[3]
        self._kept = [*itertools.chain.from_iterable(each[2] for each in of_all)]

    def intervals(self, scores: Mapping[str, float], seed: int) -> Intervals:
        """Of each score, as far as there is one. The same numbers for the same samples and seed."""
        num_samples = len(self._order)
        if num_samples < 2:
            return Intervals({}, {}, dict.fromkeys(scores, "there are too few samples"))
        means = {}
        for name, parts in self._parts.items():
            pairs = torch.cat(parts).numpy()
            if len(pairs) != num_samples:
                self.reasons.setdefault(name, "not all samples have it")
            elif _is_mean(pairs, scores.get(name, math.nan)):
                means[name] = pairs[self._order.numpy()]
            else:
                self.reasons[name] = "it is no mean over samples"
        scorers = [*self._scorers(scores)]
        bounds, num_resamples = {}, {}
        for name, values in _resampled(num_samples, means, scorers, seed).items():
            values = numpy.array(values)
            has_value = numpy.isfinite(values)
            if (~has_value).mean() > MOST_WITHOUT_VALUE:
                self.reasons[name] = "it has no value in many resamples, as where a class has few samples"
                continue
            low, high = numpy.quantile(values[has_value], (0.025, 0.975)).tolist()
            if low == high:  # nothing wrong among a hundred samples does not mean that nothing ever is
                self.reasons[name] = "it is the same in nearly all resamples, which say nothing of its spread then"
                continue
            bounds[name], num_resamples[name] = [low, high], len(values)
        lacking = {
            name: self.reasons.get(name, "it is not computed from samples") for name in scores if name not in bounds
        }
        return Intervals(bounds, num_resamples, lacking)

    def _scorers(self, scores: Mapping[str, float]) -> Iterator[tuple[Scorer, tuple[str, ...], int]]:
        """Of each metric that is no mean: a function of places of samples, what it gives, and how often to ask it."""
        if not self._kept:
            return
        output, target = (_together([pair[place] for pair in self._kept], self._order) for place in (0, 1))
        sizes: list[int] = []
        map_tensors((output, target), lambda tensor: sizes.append(tensor.numel()))
        for name, metric in self.others.items():
            cost = sum(sizes) * (DEAR if metric.keeps_outputs else 1)
            if output is None or target is None or metric.asks:
                self.reasons[name] = "its inputs cannot be drawn again"
            elif (number := int(min(MOST_RESAMPLES, MOST_ELEMENTS / cost))) < FEWEST_RESAMPLES:
                self.reasons[name] = "the outputs are too many to compute it on them again and again"
            else:
                score = metric.scorer(output, target)
                of_all = _score(score, (name,), torch.arange(len(self._order)))
                if all(_is_near(value, scores.get(key, math.nan)) for key, value in of_all.items()):
                    yield score, tuple(of_all), number
                else:
                    self.reasons |= dict.fromkeys(of_all, "of all samples together it is another number, or none")


def _is_near(value: float, expected: float) -> bool:
    return abs(value - expected) <= TOLERANCE * max(1.0, abs(expected))


def _is_mean(pairs: numpy.ndarray, value: float) -> bool:
    sums, weights = pairs.sum(axis=0)
    return bool(weights) and _is_near(sums / weights, value)


def _together(parts: list[Any], order: Tensor) -> Any:
    """Tensors of all batches in one, the samples in this order; None for what is not one tensor a batch."""
    if not all(isinstance(part, Tensor) and part.ndim and part.shape[1:] == parts[0].shape[1:] for part in parts):
        return None
    together = torch.cat(parts)
    return together[order] if len(together) == len(order) else None


def _resampled(
    num_samples: int,
    means: Mapping[str, numpy.ndarray],
    scorers: Sequence[tuple[Scorer, tuple[str, ...], int]],
    seed: int,
) -> dict[str, list[float]]:
    """Each score in each resample: of means all, of others as many as they say. nan: it has none."""
    from tqdm import tqdm

    generator = numpy.random.default_rng(seed)
    together = numpy.concatenate([numpy.empty((num_samples, 0)), *means.values()], axis=1)
    num_resamples = int(numpy.clip(SAMPLES_DRAWN / num_samples, FEWEST_RESAMPLES, MOST_RESAMPLES))
    values: dict[str, list[float]] = {}
    for number in tqdm(range(num_resamples), "intervals", leave=False, disable=None, delay=1):
        places = generator.integers(num_samples, size=num_samples, dtype=numpy.int32)
        counts = numpy.bincount(places, minlength=num_samples).astype(numpy.float64)
        totals = counts @ together
        for place, name in enumerate(means):
            total, weight = totals[2 * place : 2 * place + 2]
            values.setdefault(name, []).append(total / weight if weight else math.nan)
        wanted = [(score, names) for score, names, most in scorers if number < most]
        drawn = torch.from_numpy(places).long() if wanted else None
        for score, names in wanted:
            for name, value in _score(score, names, drawn).items():
                values.setdefault(name, []).append(value)
    return values


def _score(score: Scorer, names: Collection[str], places: Tensor) -> dict[str, float]:
    """What a metric gives for some samples. Where it warns that it has no value, what it returns is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            return score(places)
    except MISTAKES as error:
        if is_devices(error):
            raise
    except UserWarning:
        pass
    return dict.fromkeys(names, math.nan)
