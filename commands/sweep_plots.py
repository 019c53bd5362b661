"""Pictures of a search: how it went, which keys matter, and what each value came to."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from commands.sweep_results import Row
from commands.sweep_space import Dimension
from config.units import Monitor
from utils.labels import Labels
from utils.plots import BLUE, GREY, ORANGE, new_figure, plain_axes, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna import Study

FEWEST = 4  # complete trials, for a picture of what matters


def draw_search(study: Study, rows: Sequence[Row], space: Sequence[Dimension], monitor: Monitor, folder: Path) -> None:
    """history.png, slices.png, and importance.png where there are trials enough to tell."""
    complete = [row for row in rows if row.value is not None]
    if not complete:
        return
    _draw_history(rows, monitor, folder / "history.png")
    _draw_slices(complete, space, monitor, folder / "slices.png")
    if len(complete) >= FEWEST and len(space) > 1 and len({row.value for row in complete}) > 1:
        _draw_importance(study, folder / "importance.png")


def _draw_history(rows: Sequence[Row], monitor: Monitor, path: Path) -> None:
    """The value of each trial, and the best so far."""
    figure = new_figure(7, 4)
    axes = figure.add_subplot()
    complete = [row for row in rows if row.value is not None]
    numbers, values = [row.number for row in complete], [row.value for row in complete]
    best = [(max if monitor.mode == "max" else min)(values[: place + 1]) for place in range(len(values))]
    axes.plot(numbers, values, "o", color=BLUE, markersize=5, label="trained to the end")
    axes.step(numbers, best, where="post", color=ORANGE, linewidth=1.8, label="best so far")
    for state, marker in (("pruned", "|"), ("fail", "x")):
        if ended := [row.number for row in rows if row.state == state]:
            label = {"pruned": "pruned", "fail": "failed"}[state]
            edge = [0.02] * len(ended)  # at the foot, in parts of the height
            axes.plot(
                ended, edge, marker, color=GREY, transform=axes.get_xaxis_transform(), label=f"{len(ended)} {label}"
            )
    _scale(axes, values)
    plain_axes(axes)
    axes.set_xlabel("trial")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel(monitor.metric)
    axes.legend(frameon=False)
    save(figure, path)


def _draw_slices(complete: Sequence[Row], space: Sequence[Dimension], monitor: Monitor, path: Path) -> None:
    """A panel for each key: what its values came to; the later a trial, the darker."""
    num_columns = min(3, len(space))
    num_rows = math.ceil(len(space) / num_columns)
    figure = new_figure(3.6 * num_columns + 0.6, 3.2 * num_rows)
    labels = Labels([each.key for each in space])
    values = [row.value for row in complete]
    with labels.lettering():
        for place, (dimension, title) in enumerate(zip(space, labels.cut(40), strict=True), start=1):
            axes = figure.add_subplot(num_rows, num_columns, place)
            texts = [row.values[dimension.key] for row in complete]
            if dimension.choices:
                spots = [dimension.choices.index(text) for text in texts]
                shown = [choice.strip('"')[:20] for choice in dimension.choices]
                is_wide = sum(map(len, shown)) > 24
                axes.set_xticks(
                    range(len(shown)), shown, rotation=30 if is_wide else 0, ha="right" if is_wide else "center"
                )
                axes.set_xlim(-0.5, len(shown) - 0.5)
            else:
                spots = [json.loads(text) for text in texts]
                axes.set_xscale("log" if dimension.kind == "log" else "linear")
            ages = [row.number for row in complete]
            axes.scatter(
                spots, values, c=ages, cmap="Blues", vmin=min(ages) - len(ages) / 2, edgecolors=GREY, linewidths=0.5
            )
            _scale(axes, values)
            plain_axes(axes)
            axes.set_title(title, fontsize=10)
            axes.set_ylabel(monitor.metric if place % num_columns == 1 or num_columns == 1 else "")
    save(figure, path)


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """A logarithmic axis where losses reach over powers of ten."""
    if min(values) > 0 and max(values) > 50 * min(values):
        axes.set_yscale("log")


def _draw_importance(study: Study, path: Path) -> None:
    """How much of the differences between trials each key explains, as Optuna estimates it (fANOVA)."""
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    names, values = list(reversed(shares)), list(reversed(shares.values()))
    figure = new_figure(7, 1.2 + 0.4 * len(names))
    axes = figure.add_subplot()
    labels = Labels(names)
    with labels.lettering():
        bars = axes.barh(labels.cut(45), values, color=BLUE)
        axes.bar_label(bars, [f"{value:.0%}" for value in values], padding=4)
        plain_axes(axes)
        axes.set_xlim(0, 1.1 * max(values))
        axes.set_xlabel("share of the differences between trials")
    save(figure, path)
