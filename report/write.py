"""report.html and its pictures."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from report.outcome import Outcome
from report.page import element, notes, page, paragraph, picture, section, table
from report.tables import shown
from report.tasks import class_sections, value_sections
from utils.files import write_durably
from utils.plain_data import values_by_key

FILES = ("per_class.csv", "per_label.csv", "confusion_matrix.png", "calibration.png", "roc_pr.png", "mistakes.png",
         "values.png")  # fmt: skip
_NO_METRICS = {"checkpoint", "step", "split", "num_samples", "intervals", "num_resamples"}


@dataclass(frozen=True)
class About:
    """The run that a page is about: its name, config as YAML, curves.png if there is one, and what run.json says.

    notes: what to know of it before its figures are believed.
    """

    name: str
    config: str
    curves: Path | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()


def write_report(folder: Path, outcome: Outcome | str, metrics: Mapping[str, Any], about: About) -> Path:
    """Write the page and what is in it; returns the page. outcome: why there is none, where it cannot be shown.

    metrics: what is in metrics.json. Pictures of an evaluation before that this one does not have are deleted.
    """
    remove_report(folder)
    sections = [_metrics(metrics, about.notes)]
    if isinstance(outcome, str):
        sections.append(section("Predictions", paragraph(f"Not shown: {outcome}.")))
    else:
        sections += value_sections(folder, outcome) if outcome.kind == "values" else class_sections(folder, outcome)
    if about.curves is not None and about.curves.exists():
        sections.append(section("Training", picture(about.curves, "Scores and learning rate by epoch.")))
    sections.append(section("Config", element("pre", about.config)))
    if about.environment:
        told = values_by_key(about.environment)  # the command line is a list
        rows = [[name, shlex.join(map(str, value)) if isinstance(value, list) else str(value)] for name, value in told]
        sections.append(section("Environment of the training", table(["", ""], rows)))
    part = f"the {metrics['split']} part: {metrics['num_samples']:,} samples"
    checkpoint = f"{metrics['checkpoint']}, step {metrics['step']:,}"
    subtitle = f"{part}; {checkpoint}; {time.strftime('%Y-%m-%d %H:%M')}"
    html = page(f"{about.name}: results", subtitle, sections)
    write_durably(folder / "report.html", lambda file: file.write(html))
    return folder / "report.html"


def remove_report(folder: Path) -> None:
    """Delete the page and the pictures of an evaluation before."""
    for name in (*FILES, "report.html"):
        (folder / name).unlink(missing_ok=True)


def _metrics(metrics: Mapping[str, Any], said: Sequence[str]) -> Element:
    intervals = metrics.get("intervals", {})
    rows = []
    for name, value in metrics.items():
        if name not in _NO_METRICS and isinstance(value, int | float):
            low, high = intervals.get(name) or (None, None)
            rows.append([name, float(value), "" if low is None else f"{shown(low)} to {shown(high)}"])
    if not any(row[2] for row in rows):
        return section("Metrics", *notes(said), table(["metric", "value"], [row[:2] for row in rows]))
    explanation = (
        "Interval: where 95 % of the values lie if samples are drawn anew from these, with replacement (bootstrap)."
    )
    return section("Metrics", *notes(said), table(["metric", "value", "95 % interval"], rows), paragraph(explanation))
