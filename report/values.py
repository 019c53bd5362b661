"""values.png: predicted numbers against those that they should be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from report.outcome import Outcome
from report.tables import ValueFigures, shown
from utils.labels import Labels
from utils.plots import BLUE, GREY, ORANGE, SHARP, new_figure, plain_axes, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 6
MOST_DOTS = 3000  # more would be one blot: the darker, the more samples are there then


def draw_values(outcome: Outcome, figures: ValueFigures, out: Path) -> None:
    """A row for each value: prediction against target, residual against prediction, and the residuals' histogram."""
    num_rows = min(len(outcome.columns), MOST_ROWS)
    labels = Labels(outcome.columns)
    targets, scores = (each.astype(np.float64) for each in (outcome.judged.targets, outcome.judged.scores))
    with labels.lettering():
        figure = new_figure(11.5, 3.7 * num_rows)
        rows = figure.subplots(num_rows, 3, squeeze=False)
        for i, (against, residual, histogram) in enumerate(rows):
            target, predicted = targets[:, i], scores[:, i]
            figured = f"MAE {shown(figures.mae[i])}   RMSE {shown(figures.rmse[i])}   R² {shown(figures.r2[i])}"
            name = "" if outcome.value_names is None and len(outcome.columns) == 1 else f"{labels.cut(30)[i]}\n"
            against.set_title(f"{name}{figured}", loc="left", fontsize=11)
            _draw_points(against, target, predicted)
            low, high = _limits(target, predicted)
            against.plot([low, high], [low, high], color=GREY, linewidth=1, linestyle=":")
            against.set(xlabel="target", ylabel="prediction", xlim=(low, high), ylim=(low, high), aspect="equal")
            error = target - predicted
            residual.axhline(0, color=GREY, linewidth=1, linestyle=":")
            _draw_points(residual, predicted, error)
            residual.set(xlabel="prediction", ylabel="residual: target - prediction")
            histogram.hist(error, bins=min(60, max(5, round(len(error) ** 0.5))), color=BLUE)
            histogram.axvline(0, color=GREY, linewidth=1, linestyle=":")
            histogram.axvline(error.mean(), color=ORANGE, linewidth=1.5, label=f"mean {shown(error.mean())}")
            histogram.legend(frameon=False, fontsize=9)
            histogram.set(xlabel="residual", ylabel="samples")
            histogram.yaxis.get_major_locator().set_params(integer=True)
        for axes in rows.flat:
            plain_axes(axes)
            axes.xaxis.get_major_locator().set_params(nbins=5)
        save(figure, out, **SHARP)


def _draw_points(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    if len(x) <= MOST_DOTS:
        axes.plot(x, y, "o", color=BLUE, markersize=4, alpha=0.5, markeredgewidth=0)
        return
    axes.hexbin(x, y, gridsize=50, bins="log", cmap="Blues", mincnt=1, linewidths=0.1)


def _limits(target: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    low, high = min(target.min(), predicted.min()), max(target.max(), predicted.max())
    margin = 0.04 * (high - low) or max(0.1 * abs(high), 0.1)
    return low - margin, high + margin
