"""What a model has said of each sample of a part of the data, and which of it can be judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Outcome:
    """Targets and scores of N samples.

    kind and its arrays:
      classes: targets int (N,), others than 0 ... C - 1 belong to no class; predicted int (N,); scores float (N, C)
      labels:  targets 0 or 1 (N, K), predicted bool (N, K), scores float (N, K), of each label by itself
      values:  targets, predicted and scores float (N, K), the last two the same
    are_probabilities: whether the scores of classes or labels are; else they are worth a ranking alone.
    names: of the samples. classes: of the C classes or K labels; None: their numbers. value_names: of the K values.
    picture_of: the picture of sample i, uint8 (H, W, 3), or None where it is none. text_of: what it says, or None.
    """

    kind: Literal["classes", "labels", "values"]
    names: Sequence[str]
    targets: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray
    are_probabilities: bool = True
    classes: Sequence[str] | None = None
    value_names: Sequence[str] | None = None
    picture_of: Callable[[int], np.ndarray | None] = field(default=lambda i: None)
    text_of: Callable[[int], str | None] = field(default=lambda i: None)

    @cached_property
    def columns(self) -> list[str]:
        """The names of classes, labels or values."""
        given = self.value_names if self.kind == "values" else self.classes
        num_columns = self.scores.shape[1]
        return list(given) if given is not None else [str(i) for i in range(num_columns)]

    @cached_property
    def judged(self) -> Judged:
        """Those samples that tables and pictures are about, and what to say of the others."""
        if self.kind == "classes":
            return _judge_classes(self.targets, self.predicted, self.scores)
        is_known = np.isfinite(self.targets).reshape(len(self.targets), -1).all(axis=1)
        is_finite = np.isfinite(self.scores).all(axis=1)
        notes = [
            *_note((~is_known).sum(), "without a target: left out of tables and pictures"),
            *_note((is_known & ~is_finite).sum(), "with a score that is not finite: left out of tables and pictures"),
        ]
        rows = np.flatnonzero(is_known & is_finite)
        targets = self.targets[rows].astype(bool if self.kind == "labels" else np.float64)
        return Judged(rows, targets, self.predicted[rows], self.scores[rows], notes)


@dataclass(frozen=True)
class Judged:
    """rows: the samples' numbers in the Outcome. predicted: of classes (N,), -1 where the scores are not finite; of
    labels bool (N, K). notes: sentences on what was left out."""

    rows: np.ndarray
    targets: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray
    notes: list[str]

    @cached_property
    def is_finite(self) -> np.ndarray:
        return np.isfinite(self.scores).all(axis=1)

    @cached_property
    def by_column(self) -> np.ndarray:
        """The finite scores (C, N), those of a class side by side: to gather them takes longer than to sort them."""
        return np.ascontiguousarray(self.scores[self.is_finite].T)


def _judge_classes(targets: np.ndarray, predicted: np.ndarray, scores: np.ndarray) -> Judged:
    """A sample without finite scores counts as wrong, as it does in the accuracy; its class lacks it."""
    rows = np.flatnonzero((targets >= 0) & (targets < scores.shape[1]))
    kept = scores[rows]
    is_finite = np.isfinite(kept).all(axis=1)
    wrong = "with scores that are not finite: counted as wrong, with no class predicted, and left out of calibration"
    notes = [
        *_note(len(targets) - len(rows), "without a target among the classes: left out of tables and pictures"),
        *_note((~is_finite).sum(), f"{wrong} and curves"),
    ]
    return Judged(rows, targets[rows], np.where(is_finite, predicted[rows], -1), kept, notes)


def _note(number: int, what: str) -> list[str]:
    return [f"{number:,} sample{'s' if number > 1 else ''} {what}."] if number else []
