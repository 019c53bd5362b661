"""roc_pr.png and calibration.png: what the scores are worth as a ranking, and as probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from report.outcome import Outcome
from report.tables import NUM_BINS, Calibration, ClassFigures, one_against_rest, shown_share
from utils.labels import Labels
from utils.plots import BLUE, GREY, INK, ORANGE, SHARP, new_figure, plain_axes, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMED = 10
SPARSE = 10  # samples in a bin: their share of right answers says little
MOST_DRAWN = 30  # the curves of more classes, in grey, would be one cloud
# Five colours by Okabe and Ito, each in a full and a dashed line: told apart by any eye.
STYLES = [(colour, line) for line in ("-", (0, (3, 1.5)))
          for colour in ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000")]  # fmt: skip


def classes_with_curves(outcome: Outcome, figures: ClassFigures) -> np.ndarray:
    """The numbers of the classes that have curves, the lowest average precision first.

    Of two classes the second alone: the curves of the first say the same.
    """
    has_curve = ~np.isnan(figures.roc_auc)
    if outcome.kind == "classes" and len(outcome.columns) == 2:
        has_curve[0] = False
    order = np.argsort(figures.average_precision, kind="stable")
    return order[has_curve[order]]


def draw_roc_and_pr(outcome: Outcome, figures: ClassFigures, out: Path) -> None:
    """Both curves of each class against the rest, the worst of them named."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    numbers = classes_with_curves(outcome, figures)
    named = numbers[:MOST_NAMED]
    labels = Labels(outcome.columns)
    cut = labels.cut(24)
    with labels.lettering():
        figure = new_figure(11.5, 4.3)
        roc, pr = figure.subplots(1, 2)
        roc.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
        for i in reversed(numbers if len(numbers) <= MOST_DRAWN else named):  # the worst above the others
            style = {"color": "#c5ccd3", "linewidth": 1}
            if i in named:
                colour, line = STYLES[list(named).index(i)]
                style = {"color": colour, "linestyle": line, "linewidth": 1.8, "label": _legend(cut[i], i, figures)}
            is_positive, scores = one_against_rest(outcome, i)
            false, true, _ = roc_curve(is_positive, scores)
            precision, recall, _ = precision_recall_curve(is_positive, scores, drop_intermediate=True)
            begin = np.flatnonzero(recall == 1)[-1]  # lower thresholds than that find nothing more
            roc.plot(false, true, **style)
            pr.plot(recall[begin:], precision[begin:], drawstyle="steps-post", **style)
            if len(numbers) == 1:
                pr.axhline(is_positive.mean(), color=GREY, linewidth=1, linestyle=":")
        _name_axes(roc, "false positive rate", "true positive rate (recall)", "ROC")
        _name_axes(pr, "recall", "precision", "precision and recall")
        handles, texts = roc.get_legend_handles_labels()
        figure.legend(handles[::-1], texts[::-1], loc="outside right upper", frameon=False, fontsize=9,
                      title=_legend_title(outcome, len(named), len(numbers)), title_fontsize=9,
                      alignment="left")  # fmt: skip
        save(figure, out, **SHARP)


def _legend_title(outcome: Outcome, num_named: int, num_curves: int) -> str | None:
    lines = ["one against the rest"] if outcome.kind == "classes" and len(outcome.columns) > 2 else []
    if num_named < num_curves:
        lines.append(f"the {num_named} lowest of {num_curves:,}")
    return "\n".join(lines) or None


def _legend(label: str, i: int, figures: ClassFigures) -> str:
    return f"{label}\nAUC {shown_share(figures.roc_auc[i])}, AP {shown_share(figures.average_precision[i])}"


def _name_axes(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set_title(title, loc="left", fontsize=11)
    plain_axes(axes)


def draw_calibration(found: Calibration, out: Path) -> None:
    """The share of right answers by confidence, the gap to the diagonal, and how many samples there are of each."""
    figure = new_figure(5.2, 5.9)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1))
    middles = (np.arange(NUM_BINS) + 0.5) / NUM_BINS
    width = 0.92 / NUM_BINS
    above.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="perfectly calibrated")
    is_sparse, there = found.num_samples < SPARSE, found.num_samples > 0
    above.bar(middles, np.where(is_sparse, 0, found.accuracy), width, color=BLUE, label="share of right answers")
    above.bar(middles, np.where(is_sparse, found.accuracy, 0), width, color="#b9cfe8",
              label=f"the same of fewer than {SPARSE} samples")  # fmt: skip
    above.plot(found.confidence[there], found.accuracy[there], "o", color=INK, markersize=4)
    above.vlines(found.confidence[there], found.accuracy[there], found.confidence[there], color=ORANGE, linewidth=2,
                 label="gap to the confidence")  # fmt: skip
    above.set(ylabel="right answers", xlim=(0, 1), ylim=(0, 1.02))
    above.set_title(f"expected calibration error {found.error:.3f}", loc="left", fontsize=11)
    figure.legend(loc="outside lower left", fontsize=9, frameon=False, ncols=2)
    below.bar(middles, found.num_samples, width, color=GREY)
    below.set(xlabel="confidence: probability of the predicted class", ylabel="samples")
    for axes in (above, below):
        plain_axes(axes)
    save(figure, out, **SHARP)
