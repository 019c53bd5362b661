"""The rows of a table as inputs and targets, by what was fitted on the training rows and nothing else."""

from __future__ import annotations

from typing import Any

import numpy

from data_loader.tables.cells import EXPECTED, as_days, canonical, values_of
from data_loader.tables.columns import found_kind
from data_loader.tables.csv_table import MOST_TOLD
from data_loader.tables.rows import Rows, lines_told
from data_loader.tables.text_column import TextColumn
from utils.blocks import in_blocks, in_blocks_of


def feature_names(preprocessing: dict[str, Any]) -> list[str]:
    """The columns of the inputs: first the numbers, then one for each category."""
    columns = preprocessing["columns"]
    one_hot = [column for column in columns if column["kind"] == "category"]
    return [column["name"] for column in columns if column["kind"] != "category"] + [
        f"{column['name']}_{category}" for column in one_hot for category in column["categories"]
    ]


BadCells = dict[int, list[str]]  # by the row, what is wrong with its cells


def column_values(
    rows: Rows, column: dict[str, Any], mistakes: list[str], bad_cells: BadCells | None = None
) -> numpy.ndarray:
    """A column of numbers, dates and the like, float64 (rows,) or float32 as read; nan where one is missing.

    Lines go to `mistakes` or, with `bad_cells`, there.
    """
    name, kind = column["name"], column["kind"]
    if name in rows.number_names:
        return rows.numbers[:, rows.number_names.index(name)]
    texts = rows.texts[name]
    form = column.get("form")
    if kind == "date" and as_days(texts.different, form).null_count():
        found, _ = found_kind(rows, name)
        form = found.form or form
    read = values_of(texts.different, kind, rows.decimal_of(name), form)
    if read.null_count():
        is_wrong = texts.spread(read.is_null().to_numpy(), missing=False)
        _tell(rows, texts, is_wrong, EXPECTED[kind], mistakes, bad_cells)
    values = read.to_numpy()
    if not column["is_wide"]:
        with numpy.errstate(over="ignore"):
            values = values.astype(numpy.float32).astype(numpy.float64)
        is_huge = texts.spread(numpy.isinf(values), missing=False)
        _tell(rows, texts, is_huge, "a number below 3.4e38", mistakes, bad_cells)
    return texts.spread(values, missing=numpy.nan)


def _tell(
    rows: Rows,
    texts: TextColumn,
    is_wrong: numpy.ndarray,
    expected: str,
    mistakes: list[str],
    bad_cells: BadCells | None,
) -> None:
    if bad_cells is None:
        mistakes += lines_told(rows.table, texts, is_wrong, expected, MOST_TOLD)
        return
    wrong = is_wrong.nonzero()[0].tolist()
    for row, text in zip(wrong, texts.of(wrong), strict=True):
        bad_cells.setdefault(row, []).append(f"column '{texts.name}': found '{text}'; expected {expected}")


def class_numbers(rows: Rows, target: dict[str, Any], mistakes: list[str]) -> numpy.ndarray:
    """The number of each row's class, int64 (rows,); lines to `mistakes` where there is none."""
    texts = rows.texts[target["name"]]
    numbers = _numbers_of(texts, target["classes"], missing=None)[texts.codes]
    if (numbers < 0).any():
        expected = f"one of the classes {', '.join(target['classes'][:20])}"
        mistakes += lines_told(rows.table, texts, numbers < 0, expected, MOST_TOLD)
    return numbers


def regression_targets(rows: Rows, target: dict[str, Any], mistakes: list[str]) -> numpy.ndarray:
    """The column of the target, as `column_values` gives it; lines to `mistakes` where there is none."""
    values = column_values(rows, target, mistakes)
    if not mistakes and numpy.isnan(values).any():
        wrong = numpy.isnan(values).nonzero()[0][:MOST_TOLD].tolist()
        mistakes += [
            f"{rows.table.path}:{line}: column '{target['name']}': missing; expected a number as the target"
            for line in rows.table.lines.of(wrong)
        ]
    return values


def scaled_targets(rows: Rows, target: dict[str, Any], chosen: numpy.ndarray, mistakes: list[str]) -> numpy.ndarray:
    """The targets of the chosen rows as a model is to give them, float32 (chosen, 1); lines to `mistakes`."""
    values = regression_targets(rows, target, mistakes)
    scaled = numpy.empty((numpy.count_nonzero(chosen), 1), numpy.float32)
    first = 0
    for some in in_blocks_of(chosen):
        scaled[first : first + len(some), 0] = (values[some].astype(numpy.float64) - target["mean"]) / target["std"]
        first += len(some)
    return scaled


def _numbers_of(texts: TextColumn, names: list[str], missing: str | None = "missing") -> numpy.ndarray:
    """By the code of a text, its place among `names`, int64, or -1; a missing one, the last, is called `missing`."""
    places = {name: place for place, name in enumerate(names)}
    return numpy.array([places.get(name, -1) for name in [*canonical(texts.different), missing]], numpy.int64)


def encode(
    rows: Rows,
    preprocessing: dict[str, Any],
    chosen: numpy.ndarray,
    mistakes: list[str],
    bad_cells: BadCells | None = None,
) -> tuple[numpy.ndarray, dict[str, int]]:
    """Inputs float32 (chosen, features), made in the memory of rows.numbers, which is used up; unknown categories.

    chosen: bool (rows,), which to take. mistakes, bad_cells: as for `column_values`. Unknown categories: how many
    cells, by column.
    """
    assert chosen.dtype == bool, "places would be taken for truth values"
    columns = preprocessing["columns"]
    read = {name: place for place, name in enumerate(rows.number_names)}
    numbers = [column for column in columns if column["kind"] != "category"]
    beside = {
        place: column_values(rows, column, mistakes, bad_cells)[chosen]
        for place, column in enumerate(numbers)
        if column["name"] not in read
    }
    categories = {}
    for column in columns:
        if column["kind"] == "category":
            texts, names = rows.texts[column["name"]], column["categories"]
            categories[column["name"]] = len(names), _numbers_of(texts, names), texts.codes[chosen]
    unknown = dict.fromkeys(categories, 0)
    if mistakes:
        return numpy.empty((0, 0), numpy.float32), unknown
    memory, width = _taken_together(rows, chosen, [read[c["name"]] for c in numbers if c["name"] in read])
    num_features = len(feature_names(preprocessing))
    num_rows = numpy.count_nonzero(chosen)
    memory.resize(num_rows * num_features, refcheck=False)
    inputs = memory.reshape(num_rows, num_features)
    fill, mean, std = (numpy.array([column[key] for column in numbers]) for key in ("fill", "mean", "std"))
    together = [place for place in range(len(numbers)) if place not in beside]
    for some in reversed([*in_blocks(num_rows)]):
        values = numpy.empty((some.stop - some.start, len(numbers)))
        values[:, together] = memory[some.start * width : some.stop * width].reshape(len(values), width)
        for place, column in beside.items():
            values[:, place] = column[some]
        values = numpy.where(numpy.isnan(values), fill, values)
        block = inputs[some]
        block[:, : len(numbers)] = (values - mean) / std
        block[:, len(numbers) :] = 0
        begins = len(numbers)
        for name, (size, number_of, codes) in categories.items():
            places = number_of[codes[some]]
            known = (places >= 0).nonzero()[0]
            block[known, begins + places[known]] = 1
            begins += size
            unknown[name] += len(places) - len(known)
    return inputs, {name: count for name, count in unknown.items() if count}


def _taken_together(rows: Rows, chosen: numpy.ndarray, places: list[int]) -> tuple[numpy.ndarray, int]:
    """The chosen rows and columns at the beginning of the memory of rows.numbers, and how many columns they are."""
    memory, width = rows.memory, len(places)
    matrix = rows.numbers
    first = 0
    for some in in_blocks_of(chosen):  # never ahead of what is still to be read
        block = matrix[some][:, places]
        memory[first : first + block.size] = block.reshape(-1)
        first += block.size
    del matrix, rows.numbers, rows.memory
    return memory, width
