"""What is fitted on the training rows of a table: plain data, by which the rows of any file become the same inputs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy

from data_loader.tables.cells import canonical, names_of_classes
from data_loader.tables.columns import (
    Kind,
    check_names,
    found_kind,
    is_called_id,
    is_unique,
    numbers_the_rows,
    read_rows,
)
from data_loader.tables.csv_table import MOST_TOLD, told
from data_loader.tables.encoding import class_numbers, column_values, regression_targets
from data_loader.tables.files import Table
from data_loader.tables.rows import Rows, lines_told
from utils.blocks import in_blocks_of
from utils.errors import UserError

Preprocessing = dict[str, Any]
OF_A_FILE = ("decimal", "day_first")  # of the Choices, what another file may have otherwise
TOO_WIDE = 1000.0  # times the deviation: float32 would round away more than a ten-thousandth of it


class Choices(NamedTuple):
    """The arguments of TabularCSV that say what becomes of its columns."""

    target: str
    task: str
    features: list[str] | None
    categorical: list[str] | None
    ignore: list[str]
    group: str | None
    impute: str
    standardise: bool
    standardise_target: bool
    decimal: str | None
    day_first: bool | None


def describe_columns(table: Table, choices: Choices, wide: set[str]) -> tuple[Preprocessing, Rows]:
    """What kind each used column is, without what is to be fitted; and the rows. UserError with all that is wrong.

    wide: the columns of numbers to keep in float64 until they are scaled.
    """
    columns = _chosen(table, choices)
    maybe_ids = {name for name in table.names if numbers_the_rows(name) or is_called_id(name)} - {choices.target}
    as_text = {*(choices.categorical or ()), *maybe_ids, *wide, *filter(None, [choices.group])}
    as_text |= {choices.target} if choices.task != "regression" else set()
    rows = read_rows(table, as_text, choices.decimal, choices.day_first)
    ids = [name for name in table.names if name in maybe_ids and is_unique(rows, name)]
    left_out = {
        name: "numbers the rows" if numbers_the_rows(name) else "names the rows"
        for name in ids
        if choices.features is None and name in columns
    }
    left_out |= {name: "empty" for name in columns if numbers_the_rows(name) and not len(rows.texts[name].different)}
    mistakes: list[str] = []
    used = [name for name in columns if name not in left_out]
    preprocessing = {
        "columns": [_described(rows, name, choices, wide, mistakes) for name in used],
        "target": {"name": choices.target, "kind": "class"},
        "left_out": left_out,
        "id": next((name for name in ids if not numbers_the_rows(name)), None),
        "group": choices.group,
        "choices": {name: value for name, value in choices._asdict().items() if name not in OF_A_FILE},
        "decimal": rows.decimal,
        "delimiter": table.delimiter,
    }
    if choices.group:
        lacking = rows.texts[choices.group].codes < 0
        mistakes += lines_told(rows.table, rows.texts[choices.group], lacking, "a group", MOST_TOLD)
    if choices.task == "regression":
        preprocessing["target"] = _described(rows, choices.target, choices, wide, mistakes)
        if not mistakes:
            regression_targets(rows, preprocessing["target"], mistakes)
    else:
        preprocessing["target"]["classes"] = _classes(rows, choices)
        class_numbers(rows, preprocessing["target"], mistakes)
    if mistakes:
        raise UserError(told(mistakes))
    if not used:
        raise UserError(f"dataset TabularCSV: {table.path}: no feature columns but those that name or number the rows")
    return preprocessing, rows


def _chosen(table: Table, choices: Choices) -> list[str]:
    """The feature columns that are asked for, in the order of the file. UserError for what cannot be."""
    asked = {
        "dataset.args.target": [choices.target],
        "dataset.args.group": [choices.group] if choices.group else [],
        "dataset.args.features": choices.features or [],
        "dataset.args.categorical": choices.categorical or [],
        "dataset.args.ignore": choices.ignore,
    }
    check_names(table, asked)
    apart = {choices.target: "target", **({choices.group: "group"} if choices.group else {})}
    if len(apart) == 1 and choices.group:
        raise UserError(f"dataset TabularCSV: '{choices.group}' is both target and group")
    for argument in ("features", "categorical", "ignore"):
        if both := [name for name in getattr(choices, argument) or () if name in apart]:
            raise UserError(f"dataset TabularCSV: the {apart[both[0]]} '{both[0]}' is among dataset.args.{argument}")
    if both := set(choices.ignore) & {*(choices.features or ()), *(choices.categorical or ())}:
        raise UserError(f"dataset TabularCSV: '{min(both)}' is to be ignored and to be used")
    columns = table.names if choices.features is None else choices.features
    columns = [name for name in table.names if name in columns and name not in apart and name not in choices.ignore]
    if extra := [name for name in choices.categorical or () if name not in columns]:
        raise UserError(f"dataset TabularCSV: '{extra[0]}' is categorical, but not among dataset.args.features")
    if not columns:
        raise UserError("dataset TabularCSV: no feature columns")
    return columns


def _described(rows: Rows, name: str, choices: Choices, wide: set[str], mistakes: list[str]) -> dict[str, Any]:
    """A column's name and kind; what is wrong with its cells goes to `mistakes`."""
    if name in (choices.categorical or ()):
        return {"name": name, "kind": "category"}
    column = {"name": name, "kind": "number", "form": None, "is_wide": name in wide}
    if name not in rows.texts:
        return column
    kind, wrong = found_kind(rows, name)
    if kind.kind == "category":
        if name != choices.target and choices.categorical is None:
            mistakes += wrong
            return {"name": name, "kind": "category"}
        kind, wrong = Kind("number"), []
    column |= {"kind": kind.kind, "form": kind.form, "is_wide": name in wide or kind.kind in ("date", "time")}
    mistakes += wrong
    if not wrong:
        column_values(rows, column, mistakes)
    return column


def fit(rows: Rows, preprocessing: Preprocessing, train: numpy.ndarray, choices: Choices) -> tuple[set[str], list[str]]:
    """Complete what `describe_columns` gave by what the training rows, those where bool (rows,) is true, hold.

    Returns the columns of numbers that need float64 first, and what to say.
    """
    notes: list[str] = []
    mistakes: list[str] = []
    wide = set()
    read = {name: place for place, name in enumerate(rows.number_names)}
    numeric = [column for column in preprocessing["columns"] if column["kind"] != "category"]
    target = preprocessing["target"]
    numeric += [target] if target["kind"] != "class" else []
    places = [read[column["name"]] for column in numeric if column["name"] in read]
    together = iter(_statistics(rows.numbers, train, places, choices.impute).T.tolist() if places else ())
    constant = []
    for column in numeric:
        name = column["name"]
        if name in read:
            statistics = next(together)
        else:
            values = column_values(rows, column, [])
            statistics = _statistics(values[:, None], train, [0], choices.impute)[:, 0].tolist()
        fill, mean, std, low, high = statistics
        if numpy.isnan(fill):
            mistakes.append(
                f"{rows.table.path}: column '{name}' has no values in the training part; leave it out with "
                "dataset.args.ignore"
            )
            continue
        is_scaled = choices.standardise_target if column is target else choices.standardise
        if low == high:
            fill, mean = low, low  # to the bit
            constant += [name] if column is not target else []
        if is_scaled and name in rows.inexact and max(-low, high) > TOO_WIDE * std:
            wide.add(name)
        if not is_scaled and name in rows.inexact and max(-low, high) > 2**24:
            notes.append(f"column '{name}' holds numbers above 16,777,216, which float32 rounds")
        column |= {"fill": fill, "mean": mean if is_scaled else 0.0, "std": std if is_scaled and low < high else 1.0}
    if mistakes:
        raise UserError(told(mistakes))
    for column in preprocessing["columns"]:
        if column["kind"] == "category":
            column["categories"] = _categories(rows, column["name"], train)
            constant += [column["name"]] if len(column["categories"]) == 1 else []
    if constant:
        notes.append(f"the same in every training row: {', '.join(map(repr, constant))}")
    return wide, notes


def _statistics(matrix: numpy.ndarray, train: numpy.ndarray, places: list[int], impute: str) -> numpy.ndarray:
    """Of each column: fill, mean and deviation once it has been filled, least, most. float64 (5, columns)."""
    count, total = numpy.zeros(len(places)), numpy.zeros(len(places))
    low, high = numpy.full(len(places), numpy.inf), numpy.full(len(places), -numpy.inf)
    for rows in in_blocks_of(train):
        values = matrix[rows][:, places].astype(numpy.float64)
        count += (~numpy.isnan(values)).sum(0)
        total += numpy.nansum(values, 0)
        low, high = numpy.fmin(low, numpy.fmin.reduce(values)), numpy.fmax(high, numpy.fmax.reduce(values))
    with numpy.errstate(invalid="ignore"):
        fill = total / count
    if impute == "median":
        fill = numpy.array([_median(matrix[train, place]) for place in places])
    num_rows = numpy.count_nonzero(train)
    num_missing = num_rows - count
    mean = (total + num_missing * numpy.nan_to_num(fill)) / num_rows
    squares = num_missing * (numpy.nan_to_num(fill) - mean) ** 2
    for rows in in_blocks_of(train):
        squares += numpy.nansum((matrix[rows][:, places].astype(numpy.float64) - mean) ** 2, 0)
    return numpy.stack([fill, mean, numpy.sqrt(squares / num_rows), low, high])


def _median(values: numpy.ndarray) -> float:
    present = values[~numpy.isnan(values)]
    return float(numpy.median(present)) if len(present) else float("nan")


def _categories(rows: Rows, name: str, train: numpy.ndarray) -> list[str]:
    counts = rows.texts[name].counts(train)
    different = rows.texts[name].different.gather(counts[:-1].nonzero()[0])
    return sorted({*canonical(different), *(["missing"] if counts[-1] else [])})


def _classes(rows: Rows, choices: Choices) -> list[str]:
    """The classes, in sorted order. UserError where they do not fit the task."""
    classes = names_of_classes(rows.texts[choices.target].different)
    if len(classes) < 2 or (choices.task == "binary" and len(classes) != 2):
        expected = "two classes" if choices.task == "binary" else "at least two classes"
        raise UserError(
            f"{rows.table.path}: column '{choices.target}' holds {len(classes)} different values "
            f"({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}); task {choices.task} expects {expected}"
        )
    return classes
