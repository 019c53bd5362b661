"""What to say of the columns of a table: which are used and how, which are left out and why."""

from __future__ import annotations

from collections import Counter

import numpy

from data_loader.table_columns import is_called_id
from data_loader.table_fit import Choices, Preprocessing
from data_loader.table_rows import Rows

PLURALS = {
    "number": "numbers",
    "percentage": "percentages",
    "boolean": "truth values",
    "date": "dates (as days since 1970)",
    "time": "times (as shares of a day)",
}


def column_notes(rows: Rows, preprocessing: Preprocessing, choices: Choices) -> list[str]:
    """Lines for the start of a run."""
    columns = preprocessing["columns"]
    counts = Counter(column["kind"] for column in columns)
    used = [f"{counts[kind]} {name}" for kind, name in PLURALS.items() if counts[kind]]
    if categories := [len(column["categories"]) for column in columns if column["kind"] == "category"]:
        used.append(f"{len(categories)} categories ({sum(categories)} after one-hot)")
    left_out = [f"'{name}' ({reason})" for name, reason in preprocessing["left_out"].items()]
    left_out += [f"'{name}'" for name in choices.ignore]
    left = f"; left out: {', '.join(left_out)}" if left_out else ""
    notes = [f"{len(columns)} columns: {', '.join(used)}{left}"]
    mixed = [
        column["name"]
        for column in columns
        if column["kind"] == "category" and choices.categorical is None and _has_numbers(column["categories"])
    ]
    if mixed:
        notes.append(f"numbers beside texts, taken as categories: {', '.join(map(repr, mixed))}")
    if repeated := [column["name"] for column in columns if is_called_id(column["name"]) and not choices.group]:
        notes.append(f"'{repeated[0]}' is used as a feature; if rows belong together by it: dataset.args.group")
    if not (preprocessing["id"] or choices.group):
        num_copies = len(rows) - len(numpy.unique(rows.keys))
        if num_copies:
            notes.append(f"{num_copies:,} of {len(rows):,} rows are copies of others; equal rows stay in one part")
    return notes


def _has_numbers(categories: list[str]) -> bool:
    return any(category.lstrip("-").replace(".", "", 1).isdigit() for category in categories)
