"""Rows without targets for a model that was trained on a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from data_loader.in_memory import InMemoryDataset
from data_loader.inputs import STANDARD_INPUT
from data_loader.tables.encoding import BadCells, encode, feature_names
from data_loader.tables.files import FrameTable, Table, open_table
from data_loader.tables.trained import read_as_trained
from utils.errors import UserError


class TableInputs(InMemoryDataset):
    """The rows of tables, float32 (N, features), by what was fitted in training. An input is a file, or a dict.

    inputs: files, of which each row is an input, or rows: dicts with a value by column. Other columns than the model's,
    such as the target, are let through. A row with a cell that is wrong, of another length than the header, or without
    any value cannot be read: UserError when it is asked for.
    """

    def __init__(
        self,
        inputs: Sequence[Any],
        preprocessing: dict[str, Any],
        delimiter: str | None,
        decimal: str | None,
        encoding: str | None,
        sheet: str | None,
        day_first: bool | None,
    ):
        self.preprocessing = preprocessing
        self.feature_names = feature_names(preprocessing)
        self.notes: list[str] = []
        self._names: list[str] = []
        self._unreadable: dict[int, str] = {}
        blocks = []
        columns = [column["name"] for column in preprocessing["columns"]]
        for table in _tables(inputs, delimiter, encoding, sheet, columns):
            rows, notes = read_as_trained(table, preprocessing, decimal, day_first, divides=False, has_target=False)
            bad_cells: BadCells = {}
            num_rows = len(rows)
            values, unknown = encode(rows, preprocessing, numpy.ones(num_rows, bool), [], bad_cells)
            told = {row: "; ".join(of_row) for row, of_row in bad_cells.items()} | table.ragged
            self._unreadable |= {len(self._names) + row: why for row, why in told.items()}
            blocks.append(torch.from_numpy(values))
            self.notes += notes
            self.notes += [
                f"{table.path}: column '{column}': {count:,} cells hold categories that the training part lacks: zeros"
                for column, count in unknown.items()
            ]
            name = "-" if Path(table.path).name == STANDARD_INPUT else table.path
            self._names += [f"{name}:{line}" for line in table.lines]
        super().__init__(torch.cat(blocks), None)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor[0] for tensor in self.__getitems__(torch.tensor([index])))

    def __getitems__(self, indices: Tensor) -> tuple[Tensor, ...]:
        if wrong := self._unreadable.keys() & indices.tolist():
            raise UserError(self._unreadable[min(wrong)])
        return super().__getitems__(indices)

    def name_of(self, index: int) -> str:
        """The file and the line of a row."""
        return self._names[index]


def _tables(
    inputs: Sequence[Any], delimiter: str | None, encoding: str | None, sheet: str | None, columns: list[str]
) -> list[Table]:
    """The tables that inputs are: a file each, or one of all rows. UserError for what is neither.

    columns: the model's; it may have one alone.
    """
    if all(isinstance(each, Mapping) for each in inputs):
        return [_table_of_rows(inputs)]
    if not all(isinstance(each, (str, Path)) for each in inputs):
        other = next(each for each in inputs if not isinstance(each, (str, Path)))
        raise UserError(f"found {type(other).__name__}; expected files, or rows as dicts with a value by column")
    return [open_table(str(file), delimiter, encoding, sheet, columns, lets_ragged_through=True) for file in inputs]


def _table_of_rows(rows: Sequence[Mapping[str, Any]]) -> FrameTable:
    import polars

    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    try:
        frame = polars.DataFrame(columns, strict=False)
    except (TypeError, polars.exceptions.PolarsError) as error:
        raise UserError(f"the rows are no table: {error}") from error
    return FrameTable("row", frame, [], first_line=0, keeps_blank=True)
