"""What to say of the columns of a table: which are used and how, which are left out and why."""

from __future__ import annotations

from collections import Counter

from data_loader.tables.columns import is_called_id
from data_loader.tables.fit import Choices, Preprocessing
from data_loader.tables.rows import Rows
from utils.blocks import num_copies

CALLED = {
    "number": "number{s}",
    "percentage": "percentage{s}",
    "boolean": "truth value{s}",
    "date": "date{s} (as days since 1970)",
    "time": "time{s} of day (as a share of it)",
}


def column_notes(preprocessing: Preprocessing, choices: Choices) -> list[str]:
    """Lines for the start of a run."""
    columns = preprocessing["columns"]
    counts = Counter(column["kind"] for column in columns)
    used = [_counted(counts[kind], name) for kind, name in CALLED.items() if counts[kind]]
    if categories := [len(column["categories"]) for column in columns if column["kind"] == "category"]:
        used.append(_counted(len(categories), "categor{y} (") + f"{sum(categories)} after one-hot)")
    left_out = [f"'{name}' ({reason})" for name, reason in preprocessing["left_out"].items()]
    left_out += [f"'{name}'" for name in choices.ignore]
    left = f"; left out: {', '.join(left_out)}" if left_out else ""
    notes = [f"{_counted(len(columns), 'column{s}')}: {', '.join(used)}{left}"]
    mixed = [
        column["name"]
        for column in columns
        if column["kind"] == "category" and choices.categorical is None and _has_numbers(column["categories"])
    ]
    if mixed:
        notes.append(f"numbers beside texts, taken as categories: {', '.join(map(repr, mixed))}")
    target = preprocessing["target"]
    if choices.standardise_target:
        scale = f"mean {target['mean']:.6g}, deviation {target['std']:.6g}"
        notes.append(f"the target is standardised ({scale}): the loss is of that, metrics are in the target's own unit")
    if repeated := [column["name"] for column in columns if is_called_id(column["name"]) and not choices.group]:
        notes.append(f"'{repeated[0]}' is used as a feature; if rows belong together by it: dataset.args.group")
    return notes


def copies_told(rows: Rows, preprocessing: Preprocessing, has_folds: bool) -> list[str]:
    """A line where rows are copies of others and nothing but what is in them says which they are."""
    if preprocessing["id"] or preprocessing["group"]:
        return []
    copies = num_copies(rows.keys)
    parted = "folds may part them: data_loader.fold.group" if has_folds else "equal rows stay in one part"
    told = f"{copies:,} of {len(rows):,} rows are copies of others; {parted}"
    return [told] if copies else []


def _counted(number: int, name: str) -> str:
    is_one = number == 1
    return f"{number} {name.format(s='' if is_one else 's', y='y' if is_one else 'ies')}"


def _has_numbers(categories: list[str]) -> bool:
    return any(category.lstrip("-").replace(".", "", 1).isdigit() for category in categories)
