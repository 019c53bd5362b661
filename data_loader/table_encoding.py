"""The rows of a table as inputs and targets, by what was fitted on the training rows and nothing else."""

from __future__ import annotations

from typing import Any

import numpy

from data_loader.csv_table import MOST_TOLD
from data_loader.table_cells import EXPECTED, as_days, canonical, values_of
from data_loader.table_columns import found_kind
from data_loader.table_rows import Rows, lines_told
from data_loader.text_column import TextColumn

ROWS_A_BLOCK = 8192


def feature_names(preprocessing: dict[str, Any]) -> list[str]:
    """The columns of the inputs: first the numbers, then one for each category."""
    columns = preprocessing["columns"]
    one_hot = [column for column in columns if column["kind"] == "category"]
    return [column["name"] for column in columns if column["kind"] != "category"] + [
        f"{column['name']}_{category}" for column in one_hot for category in column["categories"]
    ]


def column_values(rows: Rows, column: dict[str, Any], mistakes: list[str]) -> numpy.ndarray:
    """A column of numbers, dates and the like as float64 (rows,), nan where one is missing; lines to `mistakes`."""
    name, kind = column["name"], column["kind"]
    if name in rows.number_names:
        return rows.numbers[:, rows.number_names.index(name)].astype(numpy.float64)
    texts = rows.texts[name]
    form = column.get("form")
    if kind == "date" and as_days(texts.different, form).null_count():
        found, _ = found_kind(rows, name)
        form = found.form or form
    read = values_of(texts.different, kind, rows.decimal_of(name), form)
    if read.null_count():
        is_wrong = texts.spread(read.is_null().to_numpy(), missing=False)
        mistakes += lines_told(rows.table, texts, is_wrong, EXPECTED[kind], MOST_TOLD)
    values = read.to_numpy()
    if not column["is_wide"]:
        with numpy.errstate(over="ignore"):
            values = values.astype(numpy.float32).astype(numpy.float64)
        is_huge = texts.spread(numpy.isinf(values), missing=False)
        mistakes += lines_told(rows.table, texts, is_huge, "a number below 3.4e38", MOST_TOLD)
    return texts.spread(values, missing=numpy.nan)


def class_numbers(rows: Rows, target: dict[str, Any], mistakes: list[str]) -> numpy.ndarray:
    """The number of each row's class, int64 (rows,); lines to `mistakes` where there is none."""
    texts = rows.texts[target["name"]]
    numbers = _numbers_of(texts, target["classes"], None)
    if (numbers < 0).any():
        expected = f"one of the classes {', '.join(target['classes'][:20])}"
        mistakes += lines_told(rows.table, texts, numbers < 0, expected, MOST_TOLD)
    return numbers


def regression_targets(rows: Rows, target: dict[str, Any], mistakes: list[str]) -> numpy.ndarray:
    """float64 (rows,), not scaled; lines to `mistakes` where there is none."""
    values = column_values(rows, target, mistakes)
    if not mistakes and numpy.isnan(values).any():
        wrong = numpy.isnan(values).nonzero()[0][:MOST_TOLD].tolist()
        mistakes += [
            f"{rows.table.path}:{line}: column '{target['name']}': missing; expected a number as the target"
            for line in rows.table.lines_of(wrong)
        ]
    return values


def _numbers_of(texts: TextColumn, names: list[str], missing: str | None) -> numpy.ndarray:
    """The place of each row's text among `names`, int64, or -1; a missing one is called `missing`."""
    places = {name: place for place, name in enumerate(names)}
    numbers = numpy.array([places.get(name, -1) for name in canonical(texts.different)], numpy.int64)
    return texts.spread(numbers, missing=places.get(missing, -1))


def encode(
    rows: Rows, preprocessing: dict[str, Any], chosen: numpy.ndarray, mistakes: list[str]
) -> tuple[numpy.ndarray, dict[str, int]]:
    """Inputs float32 (chosen, features), made in the memory of rows.numbers, which is used up; unknown categories.

    chosen: int64, rising, the rows to take. Lines go to `mistakes`. Unknown categories: how many cells, by column.
    """
    columns = preprocessing["columns"]
    read = {name: place for place, name in enumerate(rows.number_names)}
    numbers = [column for column in columns if column["kind"] != "category"]
    beside = {
        place: column_values(rows, column, mistakes)[chosen]
        for place, column in enumerate(numbers)
        if column["name"] not in read
    }
    categories = []
    unknown = {}
    for column in columns:
        if column["kind"] == "category":
            places = _numbers_of(rows.texts[column["name"]], column["categories"], "missing")[chosen]
            categories.append((len(column["categories"]), places))
            unknown |= {column["name"]: int((places < 0).sum())} if (places < 0).any() else {}
    if mistakes:
        return numpy.empty((0, 0), numpy.float32), unknown
    memory, width = _taken_together(rows, chosen, [read[c["name"]] for c in numbers if c["name"] in read])
    num_features = len(numbers) + sum(size for size, _ in categories)
    memory.resize(len(chosen) * num_features, refcheck=False)
    inputs = memory.reshape(len(chosen), num_features)
    fill, mean, std = (numpy.array([column[key] for column in numbers]) for key in ("fill", "mean", "std"))
    together = [place for place in range(len(numbers)) if place not in beside]
    for first in reversed(range(0, len(chosen), ROWS_A_BLOCK)):
        some = slice(first, min(first + ROWS_A_BLOCK, len(chosen)))
        values = numpy.empty((some.stop - first, len(numbers)))
        values[:, together] = memory[first * width : some.stop * width].reshape(len(values), width)
        for place, column in beside.items():
            values[:, place] = column[some]
        values = numpy.where(numpy.isnan(values), fill, values)
        block = inputs[some]
        block[:, : len(numbers)] = (values - mean) / std
        block[:, len(numbers) :] = 0
        begins = len(numbers)
        for size, places in categories:
            known = (places[some] >= 0).nonzero()[0]
            block[known, begins + places[some][known]] = 1
            begins += size
    return inputs, unknown


def _taken_together(rows: Rows, chosen: numpy.ndarray, places: list[int]) -> tuple[numpy.ndarray, int]:
    """The chosen rows and columns at the beginning of the memory of rows.numbers, and how many columns they are."""
    memory, width = rows.memory, len(places)
    matrix = rows.numbers
    for first in range(0, len(chosen), ROWS_A_BLOCK):  # never ahead of what is still to be read
        block = matrix[chosen[first : first + ROWS_A_BLOCK]][:, places]
        memory[first * width : first * width + block.size] = block.reshape(-1)
    del matrix, rows.numbers, rows.memory
    return memory, width
