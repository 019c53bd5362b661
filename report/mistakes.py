"""mistakes.png: the pictures that the model was most wrong about."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from report.outcome import Outcome
from report.tables import Mistake
from utils.labels import Labels
from utils.plots import BLUE, RED, SHARP, new_figure, save

NUM_COLUMNS = 6
CELL, TEXT, GAP = 1.7, 0.4, 0.12  # inches


def draw_mistakes(outcome: Outcome, mistakes: Sequence[Mistake], out: Path) -> bool:
    """Each with the class that it was taken for and its own, and the scores of both; False where there are none."""
    pictures = [(mistake, outcome.picture_of(mistake.row)) for mistake in mistakes]
    pictures = [(mistake, picture) for mistake, picture in pictures if picture is not None]
    if not pictures:
        return False
    num_columns = min(NUM_COLUMNS, len(pictures))
    num_rows = math.ceil(len(pictures) / num_columns)
    labels = Labels(outcome.columns)
    cut = labels.cut(14)
    with labels.lettering():
        figure = new_figure(CELL * num_columns + GAP, (CELL + TEXT) * num_rows + GAP, layout=None)
        width, height = figure.get_size_inches()
        for i, (mistake, picture) in enumerate(pictures):
            row, column = divmod(i, num_columns)
            left, bottom = column * CELL + GAP, height - (row + 1) * (CELL + TEXT)
            side = CELL - GAP
            axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
            axes.set_axis_off()
            axes.set_anchor("SW")
            axes.imshow(picture, interpolation="nearest" if max(picture.shape) < 150 else "antialiased")
            lines = [
                (f"✗ {cut[mistake.predicted]}  {shown_probability(mistake.score)}", RED),
                (f"✓ {cut[mistake.true]}  {shown_probability(mistake.score_of_true)}", BLUE),
            ]
            for line, (text, colour) in enumerate(lines):
                y = bottom + side + 0.2 - 0.15 * line
                figure.text(left / width, y / height, text, fontsize=8.5, color=colour)
        save(figure, out, dpi=SHARP["dpi"])
    return True


def shown_probability(score: float) -> str:
    """Two decimals, of which 1.00 is 1 and 0.00 is 0."""
    return ">0.99" if 0.995 <= score < 1 else "<0.01" if 0 < score < 0.005 else f"{score:.2f}"
