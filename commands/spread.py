"""How far the scores of repeated runs spread."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Spread(NamedTuple):
    """Mean, standard deviation (of n - 1), and the 95 % interval of the mean by Student's t."""

    mean: float
    deviation: float
    low: float
    high: float


def spread_of(scores: Sequence[float], num_folds: int | None = None, num_seeds: int = 1) -> Spread:
    """Of at least two scores; nan where one is.

    Of folds that several seeds have drawn, the same samples come again and again, and the deviation of the mean does
    not fall with the number of runs: its variance is corrected as by C. Nadeau, Y. Bengio (2003), "Inference for the
    Generalization Error", by the share of samples that a run is tested on.
    """
    import numpy
    from scipy.stats import t

    num = len(scores)
    mean, deviation = float(numpy.mean(scores)), float(numpy.std(scores, ddof=1))
    is_repeated = num_folds is not None and num_seeds > 1
    variance = deviation**2 * (1 / num + (1 / (num_folds - 1) if is_repeated else 0))
    half = float(t.ppf(0.975, num - 1)) * math.sqrt(variance)
    return Spread(mean, deviation, mean - half, mean + half)
