"""The rows of a table in memory: columns of plain numbers as one array, the others as texts, and a key of each row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from zlib import crc32

import numpy

from data_loader.tables.cells import POINT_AS_GROUPS, as_plain_numbers, cleaned
from data_loader.tables.files import Table
from data_loader.tables.text_column import TextColumn
from utils.blocks import in_blocks
from utils.seeding import derive_seed

if TYPE_CHECKING:
    from polars import DataFrame

NUMBERS_THE_ROWS = re.compile(r"(?i)unnamed: \d+|index|row(_?(id|nr|no|num|number|names?))?|__index_level_\d+__")
EARLY = 16384  # rows, among which most columns that hold more than numbers show: little is read twice then
_MISSING_BITS = 1  # no number that anybody writes has these


class Rows:
    """The rows of a table, read in one pass; in another where a column turns out to hold more than plain numbers.

    numbers: float32 (rows, columns) of `number_names`, nan where one is missing; its memory may be used again.
    texts: the other columns, stripped. inexact: the columns of numbers that float32 rounds.
    keys: uint64 (rows,), a function of what is in a row, whatever the order of columns and rows, without columns that
    number the rows.
    typed: the columns that are numbers in the file itself, not texts.
    has_points: whether a `.` in plain numbers can only be a decimal mark; pointed: the columns where there is one.
    decimal, day_first: how the texts are to be read.
    """

    decimal = "."

    def __init__(self, table: Table, as_text: set[str], day_first: bool | None = None):
        self.table = table
        self.day_first = day_first
        as_text = as_text & set(table.names)
        while odd := self._read(as_text):
            as_text = as_text | odd

    def __len__(self) -> int:
        return len(self.keys)

    def _read(self, as_text: set[str]) -> set[str]:
        """Read all blocks; returns the columns of numbers that hold something else."""
        import polars

        self.number_names = [name for name in self.table.names if name not in as_text]
        self.memory = numpy.empty(self.table.most_rows * len(self.number_names), numpy.float32)
        matrix = self.memory.reshape(self.table.most_rows, len(self.number_names))
        self.has_points, self.pointed, self.typed = False, set(), set()
        keys = numpy.empty(self.table.most_rows, numpy.uint64)
        self.texts = {name: TextColumn(name, self.table.most_rows) for name in self.table.names if name in as_text}
        odd: set[str] = set()
        is_inexact = numpy.zeros(len(self.number_names), bool)
        first = 0
        plain: set[str] = set()
        for frame in _one_ahead(self.table.blocks(plain)):
            numbers, odd_here = self._numbers(frame)
            self.typed |= {name for name, kind in frame.schema.items() if kind != polars.String} - plain
            end = first + len(frame)
            is_inexact |= _fill(matrix[first:end], keys[first:end], numbers)
            is_huge = numpy.isinf(matrix[first:end]).any(0)
            odd |= odd_here | {self.number_names[place] for place in is_huge.nonzero()[0]}
            if odd and first < EARLY:
                return odd
            for name, column in self.texts.items():
                column.append(frame[name])
            first = end
            if self.has_points:
                plain |= set(self.number_names)
        self.keys, self.numbers = keys[:first], matrix[:first]
        self.inexact = {name for name, is_so in zip(self.number_names, is_inexact, strict=True) if is_so}
        for column in self.texts.values():
            column.finish()
            if not NUMBERS_THE_ROWS.fullmatch(column.name):
                _add_keys_of_texts(self.keys, column)
        return odd

    def _numbers(self, frame: DataFrame) -> tuple[DataFrame, set[str]]:
        """The columns of numbers as Float64, and those which hold something else."""
        import polars
        from polars import selectors

        frame = frame[:, self.number_names]
        if set(frame.dtypes) <= {polars.Float64}:
            return frame, set()
        numbers = frame.cast(polars.Float64, strict=False)
        odd = set()
        unread = zip(numbers.null_count().row(0), frame.null_count().row(0), strict=True)
        for name, (now, before) in zip(self.number_names, unread, strict=True):
            if now > before:
                texts = cleaned(frame[name])
                column = texts.cast(polars.Float64, strict=False)
                odd |= {name} if column.null_count() > texts.null_count() else set()
                numbers = numbers.with_columns(column)
        if not self.has_points:
            self._look_for_points(frame.select(selectors.string()))
        return numbers, odd

    def _look_for_points(self, frame: DataFrame) -> None:
        for texts in frame.iter_columns():
            with_point = texts.filter(texts.str.contains(".", literal=True))
            if len(with_point):
                self.pointed.add(texts.name)
                if not with_point.str.strip_chars().str.contains(POINT_AS_GROUPS).all():
                    self.has_points = True
                    return

    def decimal_of(self, name: str) -> str:
        """The decimal mark in a column of texts."""
        return "." if name in self.typed else self.decimal


def lines_told(table: Table, texts: TextColumn, is_wrong: numpy.ndarray, expected: str, most: int) -> list[str]:
    """What is wrong with cells of a column, a line each. is_wrong: bool (rows,)."""
    wrong = is_wrong.nonzero()[0]
    rows = wrong[:most].tolist()
    told = []
    for line, text in zip(table.lines.of(rows), texts.of(rows), strict=True):
        found = "missing" if text is None else f"found '{text}'"
        told.append(f"{table.path}:{line}: column '{texts.name}': {found}; expected {expected}")
    return [*told, *([f"... and {len(wrong) - most:,} more in column '{texts.name}'"] if len(wrong) > most else [])]


def _one_ahead(frames: Iterator[DataFrame]) -> Iterator[DataFrame]:
    """The same frames; while one is worked on, a thread reads the next: polars leaves Python's lock alone."""
    with ThreadPoolExecutor(1) as pool:
        upcoming = pool.submit(next, frames, None)
        while (frame := upcoming.result()) is not None:
            upcoming = pool.submit(next, frames, None)
            yield frame


def _fill(rows: numpy.ndarray, keys: numpy.ndarray, numbers: DataFrame) -> numpy.ndarray:
    """Write columns of numbers to rows, float32 (rows, columns), and begin their keys; which columns were rounded."""
    values = numpy.empty(rows.shape, order="F")
    for place, column in enumerate(numbers.iter_columns()):
        values[:, place] = column.to_numpy()
    with numpy.errstate(over="ignore"):
        rows[:] = values
    is_inexact = (rows != values).any(0)
    is_missing = numpy.isnan(values)
    values += 0.0  # -0 is 0
    bits = values.view(numpy.uint64)
    bits[is_missing] = _MISSING_BITS
    counts = [not NUMBERS_THE_ROWS.fullmatch(name) for name in numbers.columns]
    keys[:] = _mixed(bits, numbers.columns)[:, counts].sum(1)
    return is_inexact


def _add_keys_of_texts(keys: numpy.ndarray, column: TextColumn) -> None:
    """A text that is a number counts as the number."""
    texts, numbers = column.different.to_list(), as_plain_numbers(column.different).to_numpy()
    bits = (numbers + 0.0).view(numpy.uint64)
    for place in numpy.isnan(numbers).nonzero()[0].tolist():
        bits[place] = crc32(texts[place].encode())
    mixed = _mixed(numpy.append(bits, numpy.uint64(_MISSING_BITS))[:, None], [column.name])[:, 0]
    for some in in_blocks(len(keys)):
        keys[some] += mixed[column.codes[some]]  # -1 is the last


def _mixed(bits: numpy.ndarray, names: list[str]) -> numpy.ndarray:
    """The finaliser of splitmix64 over what columns hold, so that equal values of two of them do not cancel out."""
    mixed = bits + numpy.array([derive_seed("column", name) for name in names], numpy.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> numpy.uint64(shift)
        mixed *= numpy.uint64(factor)
    return mixed ^ (mixed >> numpy.uint64(31))
