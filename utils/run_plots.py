"""The curves of several runs over each other, for runs.py."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from utils.errors import UserError
from utils.files import make_folder, naming, write_durably

Curves = Mapping[str, list[tuple[int, float]]]  # epoch and value, by the name of the score

# Okabe and Ito's colours, which people who confuse red and green tell apart too; without the yellow, pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", (0, (5, 1.5)))  # the second time that a colour comes
MOST_RUNS = len(COLOURS) * len(DASHES)
LONGEST_LABEL = 90


def draw_runs(runs: Mapping[str, Curves], out: str | Path) -> None:
    """Draws each score of the runs, given by their labels, by epoch: validation as lines, training dotted.

    UserError for a file whose name does not end in a kind of pictures.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    path = Path(out)
    kind, kinds = path.suffix[1:].lower(), FigureCanvasAgg.get_supported_filetypes()
    if kind not in kinds or path.is_dir():
        raise UserError(f"-o: found {out}; expected a file that ends in .{', .'.join(sorted(kinds))}")
    scores = dict.fromkeys(name.removeprefix("val_") for curves in runs.values() for name in curves)
    num_columns = min(len(scores), 3)
    num_rows = math.ceil(len(scores) / num_columns)
    legend_height = 0.25 + 0.22 * (len(runs) + 1)  # inches
    figure = Figure(figsize=(max(4.6 * num_columns, 7), 3.3 * num_rows + legend_height), layout="constrained")
    FigureCanvasAgg(figure)
    panels, foot = figure.subfigures(2, height_ratios=[3.3 * num_rows, legend_height])
    for place, score in enumerate(scores, start=1):
        axes = panels.add_subplot(num_rows, num_columns, place, title=score)
        shown: list[float] = []
        for number, curves in enumerate(runs.values()):
            colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS)]
            has_validation = f"val_{score}" in curves
            shown += _draw(axes, curves.get(f"val_{score}", []), color=colour, linestyle=dashes, linewidth=1.8)
            faint = {"linestyle": "dotted", "alpha": 0.8, "linewidth": 1.2} if has_validation else {"linestyle": dashes}
            shown += _draw(axes, curves.get(score, []), color=colour, **faint)
        if shown and min(shown) > 0 and max(shown) > 100 * min(shown):
            axes.set_yscale("log")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    foot.legend(handles=_legend(list(runs)), loc="upper center", frameon=False, fontsize=9)
    with naming(path):
        make_folder(path.parent)
        write_durably(path, lambda file: figure.savefig(file, format=kind, dpi=120))


def _draw(axes, points: list[tuple[int, float]], **style) -> list[float]:
    """Draws the finite points, a lone one as a dot, and returns their values."""
    points = [(epoch, value) for epoch, value in points if math.isfinite(value)]
    if points:
        axes.plot(*zip(*points, strict=True), marker="o" if len(points) == 1 else None, markersize=4, **style)
    return [value for _, value in points]


def _legend(labels: list[str]) -> list:
    from matplotlib.lines import Line2D

    handles = []
    for number, label in enumerate(labels):
        colour, dashes = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS)]
        half = LONGEST_LABEL // 2
        label = label if len(label) <= LONGEST_LABEL else f"{label[:half]}..{label[-half:]}"
        # No formulas, and none that is left out: what begins with '_' would be.
        label = label.replace("$", r"\$").removeprefix("_")
        handles.append(Line2D([], [], color=colour, linestyle=dashes, linewidth=1.8, label=label))
    return [*handles, Line2D([], [], color="#5f6b76", linestyle="dotted", label="dotted: on training data")]
