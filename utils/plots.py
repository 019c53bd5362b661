"""Pictures: what all of them share, and the curves of metrics.csv."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from utils.errors import UserError
from utils.files import write_durably
from utils.labels import Labels
from utils.logs import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

# Told apart by any eye, also in grey: the first two are dark and light enough for it.
BLUE, ORANGE, GREY, INK = "#2f6db5", "#d9662b", "#5f6b76", "#1b2a3a"
RED = "#b5480f"  # the orange, dark enough for letters
SHARP = {"dpi": 150, "bbox_inches": "tight", "pad_inches": 0.12}  # for `save`: without a white margin, for a slide
_NOT_SCORES = ("epoch", "step", "lr", "seconds", "samples_per_second")


class Best(NamedTuple):
    """The best evaluation of a run: of which metric, its value, and after how many steps."""

    metric: str
    value: float
    step: int


def draw_curves(metrics_csv: str | Path, out: str | Path, title: str = "", best: Best | None = None) -> None:
    """Draws loss, each metric and the learning rate by epoch as a PNG; nothing while there is no row.

    title: the run's name. best: marked in each panel.
    """
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
    width, height = 4.4 * num_columns, 3.2 * num_rows + 0.4
    figure = new_figure(width, height, layout=None)  # to find the margins would take longer than to draw
    figure.subplots_adjust(0.65 / width, 0.5 / height, 1 - 0.15 / width, 1 - 0.75 / height, wspace=0.25, hspace=0.45)
    best_epoch = None if best is None else _epoch_of(best.step, rows)
    panels = [figure.add_subplot(num_rows, num_columns, i) for i in range(1, len(names) + 2)]
    for axes, name in zip(panels, names, strict=False):
        shown = _draw_line(axes, rows, name, "train", BLUE) + _draw_line(axes, rows, f"val_{name}", "valid", ORANGE)
        if shown and min(shown) > 0 and max(shown) > 100 * min(shown):
            axes.set_yscale("log")
        if shown:
            axes.legend(frameon=False)
    if _are_for_a_log_axis(_draw_line(panels[-1], rows, "lr", "lr", GREY)):
        panels[-1].set_yscale("log")
    first, last = float(rows[0]["epoch"]), float(rows[-1]["epoch"])
    ticks = _epoch_ticks(first, last)
    for axes in panels:
        plain_axes(axes)
        axes.set_xlabel("epoch")
        axes.set_xticks(ticks)
        axes.set_xlim(first - max(0.02 * (last - first), 0.1), last + max(0.03 * (last - first), 0.1))
        if best_epoch is not None:
            axes.axvline(best_epoch, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    labels = Labels([*names, best.metric if best is not None else "learning rate"])
    *titles, metric = labels.cut(45)
    if best is not None:
        title += f"   dashed: the best {metric}, {best.value:.4g}, at epoch {best_epoch:.4g}"
    with labels.lettering():  # of these alone: the powers of ten on a logarithmic axis are formulas
        for axes, name in zip(panels, [*titles, "learning rate"], strict=True):
            axes.set_title(name)
        figure.text(0.2 / width, 1 - 0.28 / height, title.strip(), color=GREY)
    save(figure, out)


def new_figure(width: float, height: float, layout: str | None = "constrained") -> Figure:
    """A figure of so many inches; without pyplot, which would look for a display and keep every figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, out: str | Path, **options) -> None:
    """Writes a figure as a PNG; WriteError for a full disk. options: of matplotlib's savefig."""
    write_durably(out, lambda file: figure.savefig(file, **{"format": "png", "dpi": 120, **options}))


def plain_axes(axes: Axes) -> None:
    """No frame where there is no axis, and a faint grid."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_line(axes: Axes, rows: list[dict], column: str, label: str, colour: str) -> list[float]:
    """Draws the finite cells of a column by epoch, and returns them."""
    points = [(float(row["epoch"]), float(row[column])) for row in rows if row.get(column)]
    points = [(epoch, value) for epoch, value in points if math.isfinite(value)]
    if points:
        marker = "o" if len(points) <= 20 else None
        axes.plot(*zip(*points, strict=True), label=label, color=colour, linewidth=1.8, marker=marker, markersize=4)
    return [value for _, value in points]


def _epoch_of(step: int, rows: list[dict]) -> float:
    """How many epochs so many steps are, a fraction within one."""
    import numpy as np

    steps, epochs = ([float(row[name]) for row in rows] for name in ("step", "epoch"))
    return float(np.interp(step, [0.0, *steps], [epochs[0] - 1, *epochs]))


def _epoch_ticks(first: float, last: float) -> list[float]:
    """Round numbers after the first epoch, which has a tick whatever its number."""
    from matplotlib.ticker import MaxNLocator

    ticks = MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]).tick_values(first, last)
    gap = ticks[1] - ticks[0]
    return [first, *(tick for tick in ticks if first + gap / 2 <= tick <= last)]


def _are_for_a_log_axis(rates: list[float]) -> bool:
    """Whether learning rates fall by powers of ten for a while, not only in their first or last steps.

    OneCycleLR ends at 1e-6 of its maximum: on a logarithmic axis its last step would be all that is seen.
    """
    rest = sorted(rates)[max(1, len(rates) // 10) :]
    return bool(rest) and min(rates) > 0 and rest[-1] >= 50 * rest[0]
