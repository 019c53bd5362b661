"""confusion_matrix.png: which classes are taken for which."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from report.outcome import Outcome
from report.tables import confusion_counts
from utils.labels import Labels, columns_of
from utils.plots import INK, SHARP, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

MOST_CLASSES = 1000  # the counts of 50,000 classes would take 20 GB
MOST_WITH_COUNTS = 12
MOST_WITH_RATES = 30
LEAST_POINTS = 3  # a cell that is smaller is not seen
LABEL_POINTS = 7.5  # no smaller: it is read on a slide


def draw_confusion_matrix(outcome: Outcome, out: Path) -> None:
    """Rates, the share of each row's samples, and counts below them as long as there is room for both.

    With many classes colours alone, whose scale shows a rate of 1 % too.
    """
    counts, num_classes = confusion_counts(outcome), len(outcome.columns)
    support = np.bincount(outcome.judged.targets, minlength=num_classes)
    rates = counts / np.maximum(support, 1)[:, None]
    size = min(max(3.6, 0.62 * num_classes), 10.0)  # of the matrix, in inches
    labels = Labels(outcome.columns)
    is_many = num_classes > MOST_WITH_RATES
    step = math.ceil(num_classes * LABEL_POINTS * 1.15 / (72 * size))  # so many classes for a label
    ticks = range(0, num_classes, step)
    cut = labels.cut(18)
    shown = [cut[i] for i in ticks]
    margin = 0.09 * max(columns_of(label) for label in shown) + 0.5  # for the labels, in inches
    with labels.lettering():
        figure = new_figure(size + margin + 1.1, size + margin + 0.5)
        axes = figure.add_subplot()
        image = axes.imshow(rates, cmap="Blues", norm=_scale(is_many), interpolation="antialiased")
        cell_points = 72 * size / num_classes
        label_size = min(11.0, max(LABEL_POINTS, 0.5 * cell_points))
        is_wide = max(columns_of(label) for label in shown) * label_size * 0.62 > cell_points * step
        axes.set_xticks(ticks, shown, fontsize=label_size, rotation=90 if is_wide else 0)
        axes.set_yticks(ticks, shown, fontsize=label_size)
        axes.set_xlabel("predicted", fontsize=11)
        axes.set_ylabel("true", fontsize=11)
        axes.set_title(_title(outcome, counts, len(ticks)), loc="left", fontsize=11)
        if cell_points < LEAST_POINTS:
            _draw_dots(axes, counts, rates)
        if not is_many:
            _write_cells(axes, counts, rates, cell_points)
            axes.set_xticks(np.arange(1, num_classes) - 0.5, minor=True)
            axes.set_yticks(np.arange(1, num_classes) - 0.5, minor=True)
            axes.grid(which="minor", color="white", linewidth=1)
        axes.spines[:].set_visible(is_many)
        axes.spines[:].set_color("#c5ccd3")
        axes.tick_params(which="both", length=3 if is_many else 0)
        bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=25)
        bar.set_label("share of the true class")
        bar.outline.set_visible(False)
        shares = [0, 0.01, 0.05, 0.2, 0.5, 1] if is_many else [0, 0.2, 0.4, 0.6, 0.8, 1]
        bar.set_ticks(shares, labels=[f"{share:.0%}" for share in shares])
        save(figure, out, **SHARP)


def _scale(is_many: bool) -> Normalize:
    from matplotlib.colors import Normalize, PowerNorm

    return PowerNorm(0.4, vmin=0, vmax=1) if is_many else Normalize(vmin=0, vmax=1)


def _title(outcome: Outcome, counts: np.ndarray, num_labels: int) -> str:
    num_samples, num_classes = len(outcome.judged.rows), len(outcome.columns)
    right = f"{np.trace(counts) / num_samples:.1%} of {num_samples:,} samples right"
    named = "" if num_labels == num_classes else f"; {num_labels} of {num_classes:,} classes are named"
    return right + named


def _write_cells(axes: Axes, counts: np.ndarray, rates: np.ndarray, cell_points: float) -> None:
    """A rate in percent in each cell that is not empty, and its count below."""
    has_counts = len(counts) <= MOST_WITH_COUNTS
    size = min(13.0, cell_points * (0.27 if has_counts else 0.34))
    for i, j in np.argwhere(counts):
        colour = "white" if rates[i, j] > 0.5 else INK
        percent = 100 * rates[i, j]
        rate = "<1" if percent < 0.5 else ">99" if 99.5 <= percent < 100 else f"{percent:.0f}"
        place = {"ha": "center", "color": colour}
        if has_counts:
            axes.text(j, i, f"{rate}%", va="bottom", fontsize=size, **place)
            axes.text(j, i + 0.06, f"{counts[i, j]:,}", va="top", fontsize=0.75 * size, **place)
        else:
            axes.text(j, i, rate, va="center_baseline", fontsize=size, **place)


def _draw_dots(axes: Axes, counts: np.ndarray, rates: np.ndarray) -> None:
    """A dot larger than its cell for each pair that is confused, the frequent ones above."""
    i, j = np.nonzero(counts * (1 - np.eye(len(counts), dtype=counts.dtype)))
    order = np.argsort(rates[i, j], kind="stable")
    i, j = i[order], j[order]
    axes.scatter(j, i, s=LEAST_POINTS**2, c=rates[i, j], marker="s", linewidths=0, cmap="Blues", norm=_scale(True))
