"""Figures by class, by label and by value; scikit-learn computes what it computes fast enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from report.outcome import Outcome

NUM_BINS = 15  # of confidence, as in the paper


class ClassFigures(NamedTuple):
    """Of each of C classes or labels, float64 (C,), nan where undefined; support int64 (C,): its samples."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    roc_auc: np.ndarray
    average_precision: np.ndarray

    @property
    def means(self) -> ClassFigures:
        """Over the classes that there are samples of, each counting the same; support: all samples.

        The precision of a class that is never predicted counts as 0, areas that are not defined are left out.
        """
        there = self.support > 0
        precision = np.nan_to_num(self.precision[there])
        figures = (_mean(values) for values in (precision, self.recall[there], self.f1[there]))
        areas = (_mean(values[~np.isnan(values)]) for values in (self.roc_auc, self.average_precision))
        return ClassFigures(*figures, self.support.sum(), *areas)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def class_figures(outcome: Outcome) -> ClassFigures:
    """Precision, recall, F1, support, and the areas under the curves of one class against the rest."""
    from sklearn.metrics import precision_recall_fscore_support

    judged, num_classes = outcome.judged, len(outcome.columns)
    targets, predicted, labels = judged.targets, judged.predicted, range(num_classes)
    if outcome.kind == "labels" and num_classes == 1:  # for scikit-learn these are two classes
        targets, predicted, labels = targets[:, 0], predicted[:, 0], [True]
    if len(targets) == 0:
        nothing = np.full(num_classes, np.nan)
        return ClassFigures(nothing, nothing, nothing, np.zeros(num_classes, dtype=np.int64), nothing, nothing)
    four = precision_recall_fscore_support(targets, predicted, labels=labels, average=None, zero_division=np.nan)
    areas = np.array([areas_under_curves(*one_against_rest(outcome, i)) for i in range(num_classes)])
    return ClassFigures(*four[:3], four[3].astype(np.int64), areas[:, 0], areas[:, 1])


def one_against_rest(outcome: Outcome, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether each sample is of class i, bool, and its score for it; of samples with finite scores."""
    judged = outcome.judged
    is_positive = judged.targets == i if outcome.kind == "classes" else judged.targets[:, i]
    return is_positive[judged.is_finite], judged.by_column[i]


def areas_under_curves(is_positive: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """ROC AUC and average precision, as scikit-learn has them; nan without positives, or without negatives.

    It takes over a minute for 50,000 samples of 1,000 classes. Of a class, only the ranks of its own samples matter.
    """
    num_positives = int(is_positive.sum())
    num_negatives = len(is_positive) - num_positives
    if num_positives == 0 or num_negatives == 0:
        return math.nan, math.nan
    everything, positives = np.sort(scores), np.sort(scores[is_positive])
    # Of each positive: how many of all, and of the positives, have a lower score, and at most its score.
    lower, at_most = (np.searchsorted(everything, positives, side) for side in ("left", "right"))
    lower_too, at_most_too = (np.searchsorted(positives, positives, side) for side in ("left", "right"))
    beaten = (lower - lower_too) + 0.5 * ((at_most - lower) - (at_most_too - lower_too))
    precision = (num_positives - lower_too) / (len(scores) - lower)
    return float(beaten.mean() / num_negatives), float(precision.mean())


class Calibration(NamedTuple):
    """By bin of confidence (NUM_BINS,): mean confidence, share of right answers (nan where empty), samples.

    error: the expected calibration error; nan of no samples.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    num_samples: np.ndarray
    error: float


def calibration(outcome: Outcome) -> Calibration:
    """How often the predicted class is right, by its probability: equal bins, as in Guo et al. (2017),
    https://arxiv.org/abs/1706.04599; torchmetrics' calibration_error with norm l1."""
    judged = outcome.judged
    confidence = judged.scores[judged.is_finite].max(axis=1, initial=0).astype(np.float64)
    is_right = (judged.predicted == judged.targets)[judged.is_finite]
    bins = np.clip(np.digitize(confidence, np.linspace(0, 1, NUM_BINS + 1)) - 1, 0, NUM_BINS - 1)
    number = np.bincount(bins, minlength=NUM_BINS)
    with np.errstate(invalid="ignore"):
        means = (np.bincount(bins, values, minlength=NUM_BINS) / number for values in (confidence, is_right))
        mean_confidence, accuracy = means
    error = np.nansum(number * np.abs(accuracy - mean_confidence)) / len(bins) if len(bins) else math.nan
    return Calibration(mean_confidence, accuracy, number, float(error))


class Confusion(NamedTuple):
    """count of the `support` samples of class `true` were taken for class `predicted`."""

    true: int
    predicted: int
    count: int
    support: int


def confusion_counts(outcome: Outcome) -> np.ndarray:
    """int64 (C, C): a row for each true, a column for each predicted class."""
    judged, num_classes = outcome.judged, len(outcome.columns)
    cells = (judged.targets * num_classes + judged.predicted)[judged.predicted >= 0]
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def most_confused(outcome: Outcome, limit: int) -> list[Confusion]:
    """The pairs of classes that were confused most often, the most frequent first."""
    judged, num_classes = outcome.judged, len(outcome.columns)
    is_wrong = (judged.predicted != judged.targets) & (judged.predicted >= 0)
    pairs, counts = np.unique((judged.targets * num_classes + judged.predicted)[is_wrong], return_counts=True)
    support = np.bincount(judged.targets, minlength=num_classes)
    order = np.lexsort((pairs, -counts))[:limit]
    return [
        Confusion(*divmod(int(pairs[i]), num_classes), int(counts[i]), int(support[pairs[i] // num_classes]))
        for i in order
    ]


class Mistake(NamedTuple):
    """A sample that was taken for another class. row: its number in the Outcome."""

    row: int
    true: int
    predicted: int
    score_of_true: float
    score: float


def worst_mistakes(outcome: Outcome, limit: int) -> list[Mistake]:
    """The wrong answers that the model was surest of, the surest first."""
    judged = outcome.judged
    wrong = np.flatnonzero((judged.predicted != judged.targets) & judged.is_finite)
    sureness = judged.scores[wrong, judged.predicted[wrong]]
    mistakes = []
    for i in wrong[np.argsort(-sureness, kind="stable")[:limit]]:
        true, predicted = int(judged.targets[i]), int(judged.predicted[i])
        its = judged.scores[i]
        mistakes.append(Mistake(int(judged.rows[i]), true, predicted, float(its[true]), float(its[predicted])))
    return mistakes


class ValueFigures(NamedTuple):
    """Of each of K values, (K,), in its own unit; r2 is nan where all targets are the same."""

    mae: np.ndarray
    rmse: np.ndarray
    r2: np.ndarray


def value_figures(outcome: Outcome) -> ValueFigures:
    """Mean absolute error, root of the mean squared error, and coefficient of determination."""
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    targets, scores = (each.astype(np.float64) for each in (outcome.judged.targets, outcome.judged.scores))
    if len(targets) == 0:
        return ValueFigures(*[np.full(len(outcome.columns), np.nan)] * 3)
    mae, rmse = (error(targets, scores, multioutput="raw_values") for error in
                 (mean_absolute_error, root_mean_squared_error))  # fmt: skip
    r2 = np.full(len(mae), np.nan)
    varies = np.ptp(targets, axis=0) > 0  # for scikit-learn a constant target has an R2 of 0 or 1
    if varies.any():
        r2[varies] = r2_score(targets[:, varies], scores[:, varies], multioutput="raw_values")
    return ValueFigures(mae, rmse, r2)


def shown(value: float | None) -> str:
    """A number with four significant digits; a dash for what is undefined."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"


def shown_share(share: float) -> str:
    """A number from 0 to 1 with three decimals; what is not quite 1, or not quite 0, never looks like it."""
    if math.isnan(share):
        return "–"
    if share in (0, 1):
        return f"{share:.3f}"
    return "<0.001" if share < 0.001 else ">0.999" if share > 0.999 else f"{share:.3f}"


def names_of(numbers: Sequence[int], names: Sequence[str], most: int = 20) -> str:
    """Names in a row, and how many more there are."""
    more = len(numbers) - most
    return ", ".join(names[i] for i in numbers[:most]) + (f" and {more:,} more" if more > 0 else "")
