"""Tables in files of any kind: CSV, Excel, Parquet, or one that ships with scikit-learn."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence, Set
from typing import TYPE_CHECKING

from data_loader.tables.csv_table import CsvTable, checked_names, told
from data_loader.tables.row_lines import RowLines
from utils.errors import UserError

if TYPE_CHECKING:
    from polars import DataFrame

SCIKIT_LEARN = "scikit-learn:"  # begins the name of a table that ships with scikit-learn: scikit-learn:diabetes
EXCEL = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
PARQUET = (".parquet", ".pq")
ROWS_A_BLOCK = 8192


class FrameTable:
    """The rows of a table whose columns have types, in blocks of texts and numbers, as CsvTable gives its own.

    keeps_blank: whether rows that hold nothing are there, and told in `ragged`.
    """

    encoding = delimiter = None

    def __init__(self, path: str, frame: DataFrame, notes: list[str], first_line: int = 2, keeps_blank: bool = False):
        import polars

        self.path = path
        self.notes = notes
        self.names = checked_names(path, frame.columns)
        self.most_rows = len(frame)
        frame = frame.rename(dict(zip(frame.columns, self.names, strict=True)))
        self._frame = frame.select(_as_text_or_number(path, column) for column in frame.iter_columns())
        is_blank = self._frame.select(polars.all_horizontal(polars.all().is_null())).to_series()
        self.ragged = dict.fromkeys(is_blank.arg_true(), "it holds nothing") if keeps_blank else {}
        is_there = ~is_blank | keeps_blank
        self.lines = RowLines()
        self.lines.append(is_there.arg_true() + first_line)
        self._frame = self._frame.filter(is_there)
        if not len(self._frame):
            raise UserError(f"{path}: no rows below the header")

    def blocks(self, plain: Set[str] = frozenset(), missing: Sequence[str] = ()) -> Iterator[DataFrame]:
        return self._frame.iter_slices(ROWS_A_BLOCK)


Table = CsvTable | FrameTable


def open_table(
    path: str,
    delimiter: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    alone: Collection[str] = (),
    lets_ragged_through: bool = False,
) -> Table:
    """The table in a file, by the end of its name, or `scikit-learn:NAME`. UserError when it cannot be read.

    alone: columns of which one may be all there is, without a delimiter; others hint at a wrong one.
    lets_ragged_through: whether rows that have more or fewer cells than the header are no mistake; see CsvTable.
    """
    try:
        import polars
    except ModuleNotFoundError as error:
        raise UserError(f"{error}: polars reads the tables; pip install -r requirements.txt") from error

    if path.startswith(SCIKIT_LEARN):
        return FrameTable(path, _scikit_learn_frame(path), [], first_line=0)
    path = os.path.expanduser(path)
    is_excel, is_parquet = path.lower().endswith(EXCEL), path.lower().endswith(PARQUET)
    if sheet is not None and not is_excel:
        raise UserError(f"dataset.args.sheet: found '{sheet}', but {path} is no Excel file")
    if not (is_excel or is_parquet):
        return CsvTable(path, delimiter, encoding, alone, lets_ragged_through)
    try:
        with open(path, "rb") as file:
            if is_excel:
                return _excel_table(path, sheet)
            frame = polars.read_parquet(file, use_pyarrow=False)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except polars.exceptions.PolarsError as error:
        raise UserError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    return FrameTable(path, frame, [], first_line=1)


def _excel_table(path: str, sheet: str | None) -> FrameTable:
    import fastexcel
    import polars

    try:
        sheets = fastexcel.read_excel(path).sheet_names
        if sheet is not None and sheet not in sheets:
            raise UserError(f"dataset.args.sheet: {path} has no sheet '{sheet}'; there are {', '.join(sheets)}")
        frame = polars.read_excel(
            path,
            sheet_name=sheet or sheets[0],
            drop_empty_rows=False,
            infer_schema_length=None,
            raise_if_empty=False,
        )
    except fastexcel.FastExcelError as error:
        raise UserError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    other = f"; there are also {', '.join(sheets[1:])}: dataset.args.sheet" if sheet is None and sheets[1:] else ""
    return FrameTable(path, frame, [f"{path}: sheet '{sheet or sheets[0]}'{other}"] if other else [])


def _as_text_or_number(path: str, column):
    """A column of any type as texts or numbers. UserError for lists and the like."""
    import polars

    kind = column.dtype
    if kind == polars.Boolean or kind in (polars.String, polars.Categorical, polars.Enum, polars.Null):
        return column.cast(polars.String)
    if kind == polars.Decimal:
        return column.cast(polars.Float64)
    if kind.is_numeric():
        return column
    if kind == polars.Date:
        return column.dt.strftime("%Y-%m-%d")
    if kind == polars.Datetime:
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else column
        return column.dt.strftime("%Y-%m-%d %H:%M:%S%.6f")
    if kind == polars.Time:
        return column.dt.strftime("%H:%M:%S%.6f")
    if kind == polars.Duration:
        return column.dt.total_microseconds() / 86_400e6
    raise UserError(told([f"{path}: column '{column.name}' holds {kind}; expected numbers, texts or dates"]))


def _scikit_learn_frame(path: str) -> DataFrame:
    """A table that ships with scikit-learn, with the column `target`."""
    import polars
    from sklearn import datasets

    name = path.removeprefix(SCIKIT_LEARN)
    names = ("breast_cancer", "diabetes", "iris", "wine")
    if name not in names:
        raise UserError(f"dataset.args.path: scikit-learn ships no table '{name}'; there are {', '.join(names)}")
    loaded = getattr(datasets, f"load_{name}")()
    columns = dict(zip(loaded.feature_names, loaded.data.T, strict=True))
    return polars.DataFrame(columns | {"target": loaded.target})
