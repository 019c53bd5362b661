"""The columns of a table that hold texts and what they are to be told apart by."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

import numpy

from data_loader.splitting import keys_of
from data_loader.tables.cells import EXPECTED, as_plain_numbers
from data_loader.tables.columns import check_names
from data_loader.tables.csv_table import MOST_TOLD, told
from data_loader.tables.files import Table
from data_loader.tables.rows import lines_told
from data_loader.tables.text_column import TextColumn
from utils.errors import UserError


class TextRows(NamedTuple):
    """of_rows: the text of each row, without blanks at its ends. texts: target and group, by the column's name.

    keys: uint64 (rows,), a function of the text alone, the same in capitals, with other blanks and letters of several.
    """

    table: Table
    of_rows: list[str]
    texts: dict[str, TextColumn]
    keys: numpy.ndarray

    def __len__(self) -> int:
        return len(self.of_rows)


def read_texts(table: Table, text: str, target: str | None = None, group: str | None = None) -> TextRows:
    """The rows of a table. UserError for columns that are not there, and for rows without a text or a group."""
    asked = {"text": text, "target": target, "group": group}
    check_names(table, {f"dataset.args.{argument}": [name] for argument, name in asked.items() if name is not None})
    others = [name for name in (target, group) if name is not None]
    if len({text, *others}) <= len(others):
        raise UserError(
            f"dataset.args: text, target and group are to be different columns; found {', '.join([text, *others])}"
        )
    columns = {name: TextColumn(name, table.most_rows) for name in others}
    of_rows: list[str] = []
    for frame in table.blocks(missing=()):
        of_rows += (each.strip() for each in frame[text].cast(str).fill_null("").to_list())
        for name, column in columns.items():
            column.append(frame[name])
    for column in columns.values():
        column.finish()
    mistakes = _lines_without(table, text, of_rows)
    if group is not None:
        mistakes += lines_told(table, columns[group], columns[group].codes < 0, "a group", MOST_TOLD)
    if mistakes:
        raise UserError(told(mistakes))
    return TextRows(table, of_rows, columns, keys_of(map(_bare, of_rows)))


def _bare(text: str) -> str:
    """The same for texts in capitals, with other blanks, and with letters that are composed of several."""
    return " ".join(unicodedata.normalize("NFC", text.lower()).split())


def number_targets(rows: TextRows, name: str, mistakes: list[str]) -> numpy.ndarray:
    """The numbers in a column, float64 (rows,); lines to `mistakes` where there is none."""
    texts = rows.texts[name]
    numbers = as_plain_numbers(texts.different).to_numpy(writable=True)
    numbers[abs(numbers) > numpy.finfo(numpy.float32).max] = numpy.nan
    values = texts.spread(numbers, missing=numpy.nan)
    mistakes += lines_told(rows.table, texts, numpy.isnan(values), f"{EXPECTED['number']}, such as 12.5", MOST_TOLD)
    return values


def _lines_without(table: Table, name: str, of_rows: list[str]) -> list[str]:
    empty = [row for row, text in enumerate(of_rows) if not text]
    lines = [f"{table.path}:{line}: column '{name}': no text" for line in table.lines.of(empty[:MOST_TOLD])]
    more = len(empty) - MOST_TOLD
    return lines + ([f"... and {more:,} more without a text; take such rows out of the table"] if more > 0 else [])
