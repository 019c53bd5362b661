"""The sections of the page on classes, labels and values: each draws its pictures and says what is not in them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from report.confusion import MOST_CLASSES, draw_confusion_matrix
from report.curves import MOST_NAMED, classes_with_curves, draw_calibration, draw_roc_and_pr
from report.mistakes import draw_mistakes
from report.outcome import Outcome
from report.page import notes, paragraph, picture, section, table
from report.tables import (
    NUM_BINS,
    ClassFigures,
    calibration,
    class_figures,
    most_confused,
    names_of,
    value_figures,
    worst_mistakes,
)
from report.values import MOST_DOTS, MOST_ROWS, draw_values
from utils.files import write_durably
from utils.labels import Labels

MOST_IN_ORDER = 30  # rows of a table in the order of the classes; of more, the worst come first
MOST_TABLE_ROWS = 100
MOST_PICTURES = 24
MOST_LISTED = 12
MOST_LETTERS = 500  # of a text
_FIGURES = ("precision", "recall", "F1", "support", "ROC AUC", "average precision")


def class_sections(folder: Path, outcome: Outcome) -> list[Element]:
    """Of a classification, or of labels that each is true or not by itself."""
    figures = class_figures(outcome)
    sections = [_figures_by_class(folder, outcome, figures)]
    if len(outcome.judged.rows) == 0:
        return sections
    if outcome.kind == "classes":
        sections += [_confusion(folder, outcome), _calibration(folder, outcome)]
    sections.append(_curves(folder, outcome, figures))
    if outcome.kind == "classes":
        sections.append(_mistakes(folder, outcome))
    return sections


def _figures_by_class(folder: Path, outcome: Outcome, figures: ClassFigures) -> Element:
    what = "class" if outcome.kind == "classes" else "label"
    names, is_long = outcome.columns, len(outcome.columns) > MOST_IN_ORDER
    rows = [_row(i, name, each) for i, (name, *each) in enumerate(zip(names, *figures, strict=True))]
    _write_csv(folder / f"per_{what}.csv", ["number", what, *_FIGURES], rows)
    if is_long:  # those without samples last
        rows.sort(key=lambda row: (row[5] == 0, row[4]))
    absent = np.flatnonzero(figures.support == 0)
    said = [*outcome.judged.notes]
    if len(absent):
        said.append(f"No sample of {len(absent):,} of {len(names):,} {_plural(what)} in this part of the data, which "
                    f"therefore have no recall and no curves: {names_of(absent, names)}.")  # fmt: skip
    if numbered := Labels(names).numbered:
        said.append("No font on the machine that drew the pictures has the letters of some names: they are shown "
                    f"there as #NUMBER, such as #{numbered[0]} for {names[numbered[0]]}.")  # fmt: skip
    explanation = (
        f"Support: samples of the {what}. A dash: not defined, such as the precision of a {what} that is never "
        f"predicted. Mean: over the {_plural(what)} that there are samples of, where such a precision counts as 0."
    )
    if outcome.kind == "labels":
        explanation += " A label is predicted where its probability is above 0.5." if outcome.are_probabilities else ""
    if is_long:
        explanation += " The lowest F1 first"
        explanation += f"; the first {MOST_TABLE_ROWS} of {len(rows):,}" if len(rows) > MOST_TABLE_ROWS else ""
        explanation += f"; all are in per_{what}.csv."
    shown = table(
        ["#", what, *_FIGURES], [_row("", "mean", figures.means), *rows[:MOST_TABLE_ROWS]], shares=(2, 3, 4, 6, 7)
    )
    return section(f"By {what}", *notes(said), shown, paragraph(explanation))


def _row(number: int | str, name: str, figures: Sequence[float]) -> list[int | str | float]:
    precision, recall, f1, support, *areas = figures
    return [number, name, float(precision), float(recall), float(f1), int(support), *map(float, areas)]


def _confusion(folder: Path, outcome: Outcome) -> Element:
    names, parts = outcome.columns, []
    if len(names) <= MOST_CLASSES:
        draw_confusion_matrix(outcome, folder / "confusion_matrix.png")
        caption = "A row for each true class: what share of its samples was taken for which class."
        parts.append(picture(folder / "confusion_matrix.png", caption))
    else:
        parts.append(
            paragraph(f"A confusion matrix is drawn of up to {MOST_CLASSES:,} classes; here are {len(names):,}.")
        )
    if confused := most_confused(outcome, MOST_LISTED):
        rows = [[names[each.true], names[each.predicted], each.count, each.count / each.support] for each in confused]
        parts += [
            paragraph("Confused most often:"),
            table(["true", "predicted", "samples", "share of the true class"], rows, shares=(3,)),
        ]
    return section("Which classes are confused", *parts)


def _calibration(folder: Path, outcome: Outcome) -> Element:
    if not outcome.are_probabilities:
        return section("Calibration", paragraph("The scores of this model are no probabilities."))
    found = calibration(outcome)
    if found.num_samples.sum() == 0:
        return section("Calibration", paragraph("No sample has finite scores."))
    draw_calibration(found, folder / "calibration.png")
    caption = (
        f"Expected calibration error {found.error:.3f}: how far the probability of the predicted class and the "
        f"share of right answers are apart, in {NUM_BINS} bins of equal width, averaged over samples (Guo et al., "
        "2017). Bars below the diagonal: the model is surer than it should be."
    )
    return section("Calibration", picture(folder / "calibration.png", caption))


def _curves(folder: Path, outcome: Outcome, figures: ClassFigures) -> Element:
    what = "class" if outcome.kind == "classes" else "label"
    numbers, title = classes_with_curves(outcome, figures), "ROC, precision and recall"
    if len(numbers) == 0:
        return section(title, paragraph(f"No curves: they need samples that are of a {what} and others that are not."))
    draw_roc_and_pr(outcome, figures, folder / "roc_pr.png")
    caption = "AUC: area under the ROC curve. AP: average precision."
    if outcome.kind == "classes":
        is_binary = len(outcome.columns) == 2
        caption = (
            f"Of the class {outcome.columns[1]}. {caption}" if is_binary else f"One class against the rest. {caption}"
        )
    if len(numbers) > MOST_NAMED:
        caption += f" Named are the {MOST_NAMED} of lowest average precision, of {len(numbers):,}; the table has all."
    return section(title, picture(folder / "roc_pr.png", caption))


def _mistakes(folder: Path, outcome: Outcome) -> Element:
    title, names = "Mistakes the model was surest of", outcome.columns
    mistakes = worst_mistakes(outcome, MOST_PICTURES)
    if not mistakes:
        num_samples = int(outcome.judged.is_finite.sum())
        return section(title, paragraph(f"None among the {num_samples:,} samples with finite scores."))
    parts = []
    if draw_mistakes(outcome, mistakes, folder / "mistakes.png"):
        caption = "✗ what the model said, ✓ what it should have said; with the score of each."
        parts.append(picture(folder / "mistakes.png", caption))
    listed = mistakes[:MOST_LISTED]
    header, samples = _samples(outcome, [each.row for each in listed])
    rows = [
        [*sample, names[each.true], names[each.predicted], each.score_of_true, each.score]
        for sample, each in zip(samples, listed, strict=True)
    ]
    header += ["true", "predicted", "score of the true class", "of the predicted one"]
    shares = range(len(header))[-2:] if outcome.are_probabilities else ()
    return section(title, *parts, table(header, rows, shares))


def value_sections(folder: Path, outcome: Outcome) -> list[Element]:
    """Of a regression."""
    judged, names = outcome.judged, outcome.columns
    figures = value_figures(outcome)
    said, several = [*judged.notes], len(names) > 1
    if constant := [name for name, r2 in zip(names, figures.r2, strict=True) if np.isnan(r2)]:
        of_which = f" of {names_of(range(len(constant)), constant)}" if several else ""
        said.append(f"R²{of_which} is not defined: there are no two different targets.")
    if Labels(names).numbered:
        said.append("No font on the machine that drew the pictures has the letters of some names: #NUMBER, from 0.")
    rows = [[name, *map(float, each)] for name, *each in zip(names, *figures, strict=True)]
    parts = [*notes(said), table(["value", "MAE", "RMSE", "R²"], rows)]
    if len(judged.rows) == 0:
        return [section("Predictions and targets", *parts)]
    draw_values(outcome, figures, folder / "values.png")
    caption = "Prediction against target (dotted: equal), residual against prediction, and how residuals are spread."
    if len(judged.rows) > MOST_DOTS:
        caption += " The darker, the more samples."
    if len(names) > MOST_ROWS:
        caption += f" The first {MOST_ROWS} of {len(names):,} values."
    parts.append(picture(folder / "values.png", caption))
    return [section("Predictions and targets", *parts), _largest_errors(outcome)]


def _largest_errors(outcome: Outcome) -> Element:
    """Of several values, each is measured by its own spread of errors."""
    judged, names = outcome.judged, outcome.columns
    errors = judged.targets - judged.scores.astype(np.float64)
    spread = np.sqrt(np.square(errors).mean(axis=0))
    sizes = np.abs(errors) / np.where(spread > 0, spread, 1)
    largest = np.argsort(-sizes, axis=None, kind="stable")[:MOST_LISTED]
    places = [divmod(int(place), len(names)) for place in largest]
    header, samples = _samples(outcome, [int(judged.rows[i]) for i, _ in places])
    rows = [
        [*sample, names[j], *map(float, (judged.targets[i, j], judged.scores[i, j], errors[i, j]))]
        for sample, (i, j) in zip(samples, places, strict=True)
    ]
    return section("Largest errors", table([*header, "value", "target", "prediction", "residual"], rows))


def _samples(outcome: Outcome, places: Sequence[int]) -> tuple[list[str], list[list[str]]]:
    """The first columns of a table about samples, and the cells: what each is called and, of texts, what it says."""
    called, texts = [outcome.names[place] for place in places], [outcome.text_of(place) for place in places]
    if None in texts or all(text in name for text, name in zip(texts, called, strict=True)):
        return ["sample"], [[name] for name in called]
    shown = [text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…" for text in texts]
    return ["sample", "text"], [list(pair) for pair in zip(called, shown, strict=True)]


def _plural(what: str) -> str:
    return {"class": "classes", "label": "labels"}[what]


def _write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_durably(path, lambda file: file.write(text.getvalue().encode(errors="surrogateescape")))
