"""mistakes.png: the pictures that the model was most wrong about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from report.outcome import Outcome
from report.tables import Mistake
from utils.labels import Labels
from utils.plots import BLUE, ORANGE, new_figure, save

NUM_COLUMNS = 6


def draw_mistakes(outcome: Outcome, mistakes: Sequence[Mistake], out: Path) -> bool:
    """Each with the class that it was taken for and its own, and the scores of both; False where there are none."""
    pictures = [(mistake, outcome.picture_of(mistake.row)) for mistake in mistakes]
    pictures = [(mistake, picture) for mistake, picture in pictures if picture is not None]
    if not pictures:
        return False
    num_columns = min(NUM_COLUMNS, len(pictures))
    num_rows = math.ceil(len(pictures) / num_columns)
    labels = Labels(outcome.columns)
    cut = labels.cut(17)
    with labels.lettering():
        figure = new_figure(max(1.75 * num_columns, 3.5), 2.25 * num_rows)
        for i, (mistake, picture) in enumerate(pictures):
            axes = figure.add_subplot(num_rows, num_columns, i + 1)
            is_small = max(picture.shape[:2]) < 150
            axes.imshow(picture, interpolation="nearest" if is_small else "antialiased")
            axes.set_xticks([]), axes.set_yticks([])
            axes.spines[:].set_color("#c5ccd3")
            said = f"{cut[mistake.predicted]}  {mistake.score:.2f}"
            true = f"{cut[mistake.true]}  {mistake.score_of_true:.2f}"
            style = {"fontsize": 8.5, "ha": "left", "transform": axes.transAxes}
            axes.set_title(f"✗ {said}\n", loc="left", fontsize=8.5, color=ORANGE)
            axes.text(0, 1.03, f"✓ {true}", color=BLUE, **style)
        save(figure, out, dpi=150)
    return True
