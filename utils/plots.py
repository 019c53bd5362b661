"""Pictures of a run: the curves of metrics.csv, and confusion matrices."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from utils.errors import UserError
from utils.files import write_durably
from utils.logs import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

_NOT_SCORES = ("epoch", "step", "lr", "seconds", "samples_per_second")
_BLUE, _ORANGE, _GREY = "#2f6db5", "#d9662b", "#5f6b76"


def draw_curves(metrics_csv: str | Path, out: str | Path) -> None:
    """Draws loss, each metric and the learning rate by epoch as a PNG; nothing while there is no row."""
    try:
        columns, rows = read_metrics(Path(metrics_csv))
    except UserError as error:  # a picture is not worth the end of a run
        logger.warning("%s is not drawn: %s", out, error)
        return
    if not rows:
        return
    names = list(dict.fromkeys(name.removeprefix("val_") for name in columns if name not in _NOT_SCORES))
    num_columns = 2 if len(names) in (1, 3) else 3
    num_rows = math.ceil((len(names) + 1) / num_columns)
    width, height = 4.4 * num_columns, 3.2 * num_rows
    figure = _figure(width, height, layout=None)  # to find the margins would take longer than to draw
    figure.subplots_adjust(0.65 / width, 0.5 / height, 1 - 0.15 / width, 1 - 0.35 / height, wspace=0.25, hspace=0.45)
    for i, name in enumerate(names, start=1):
        axes = figure.add_subplot(num_rows, num_columns, i, title=name)
        shown = _draw_line(axes, rows, name, "train", _BLUE) + _draw_line(axes, rows, f"val_{name}", "valid", _ORANGE)
        if shown and min(shown) > 0 and max(shown) > 100 * min(shown):
            axes.set_yscale("log")
        if shown:
            axes.legend(frameon=False)
    axes = figure.add_subplot(num_rows, num_columns, len(names) + 1, title="learning rate")
    if all(rate > 0 for rate in _draw_line(axes, rows, "lr", "lr", _GREY)):
        axes.set_yscale("log")
    _save(figure, out)


def draw_confusion_matrix(matrix: Tensor, classes: Sequence[str], out: str | Path) -> None:
    """Draws counts (C, C), a row for each true and a column for each predicted class, as a PNG.

    The colour of a cell is its share of the row, so that rare classes show as well as frequent ones.
    """
    counts = torch.as_tensor(matrix).double().cpu()
    shares = counts / counts.sum(dim=1, keepdim=True).clamp_min(1)
    num_classes = len(classes)
    size = min(max(4.5, 0.6 * num_classes + 1.5), 15.0)  # inches
    cell_points = 72 * 0.75 * size / num_classes
    figure = _figure(size * 1.1, size)
    accuracy = (counts.diagonal().sum() / counts.sum().clamp_min(1)).item()
    axes = figure.add_subplot()
    axes.set_title(f"{int(counts.sum()):,} samples, {accuracy:.2%} right", loc="left", fontsize=9 + size / 3)
    image = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    ticks = range(0, num_classes, math.ceil(6 / cell_points))  # a label needs at least 6 points
    labels = [classes[i] if len(classes[i]) <= 20 else classes[i][:19] + "…" for i in ticks]
    labels = [label.replace("$", r"\$") for label in labels]  # no formulas
    label_size = min(11, 0.8 * cell_points * ticks.step)
    is_wide = max(map(len, labels)) * label_size * 0.6 > cell_points * ticks.step
    axes.set_xticks(ticks, labels, fontsize=label_size, rotation=90 if is_wide else 0)
    axes.set_yticks(ticks, labels, fontsize=label_size)
    axes.set_xlabel("predicted", fontsize=8 + size / 3)
    axes.set_ylabel("true", fontsize=8 + size / 3)
    longest = len(f"{counts.max():.0f}")
    count_size = min(12, cell_points * 0.45, cell_points / (0.7 * longest))
    if count_size >= 4:  # else colours alone: nobody can read the counts of 100 classes
        for i, j in counts.nonzero().tolist():
            colour = "white" if shares[i, j] > 0.5 else "#1b2a3a"
            axes.text(j, i, f"{counts[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=count_size)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, shrink=0.7)
    bar.set_label("share of the true class", fontsize=7 + size / 3)
    bar.outline.set_visible(False)
    _save(figure, out)


def _figure(width: float, height: float, layout: str | None = "constrained") -> Figure:
    """A figure of so many inches; without pyplot, which would look for a display and keep every figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def _draw_line(axes: Axes, rows: list[dict], column: str, label: str, colour: str) -> list[float]:
    """Draws the finite cells of a column by epoch, and returns them."""
    points = [(float(row["epoch"]), float(row[column])) for row in rows if row.get(column)]
    points = [(epoch, value) for epoch, value in points if math.isfinite(value)]
    if points:
        marker = "o" if len(points) <= 20 else None
        axes.plot(*zip(*points, strict=True), label=label, color=colour, linewidth=1.8, marker=marker, markersize=4)
    first, last = float(rows[0]["epoch"]), float(rows[-1]["epoch"])
    margin = max(0.03 * (last - first), 0.5)
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return [value for _, value in points]


def _save(figure: Figure, out: str | Path) -> None:
    write_durably(out, lambda file: figure.savefig(file, format="png", dpi=120))
