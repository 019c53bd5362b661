"""Read a CSV file in blocks of whole rows, as text, with what its encoding and delimiter are found to be."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Sequence, Set
from typing import TYPE_CHECKING

from data_loader.tables.cells import MISSING
from data_loader.tables.csv_format import DELIMITERS, count, found_delimiter, opened, scan
from data_loader.tables.row_lines import RowLines
from utils.errors import UserError

if TYPE_CHECKING:
    from polars import DataFrame

BLOCK = 1 << 18  # bytes: large enough for polars to be fast, small beside the table that is made of them
MOST_TOLD = 20
WRITTEN_MISSING = [*MISSING, *map(str.upper, MISSING), "NaN", "None", "Null"]  # others are found later


class CsvTable:
    """The rows of a CSV file with a header, in blocks that are read anew each time they are asked for.

    names: the columns; delimiter, encoding: as given or found; most_rows: at least as many as there are; notes: what to
    say of how it was read. alone: columns of which one may be the only one. UserError when it is absent, empty, no
    text, without a header or cannot be divided.
    lines: where the rows of the blocks read so far begin. ragged: what is wrong with rows of other length, by their
    numbers; where they are let through, they hold nothing.
    """

    def __init__(
        self,
        path: str,
        delimiter: str | None = None,
        encoding: str | None = None,
        alone: Collection[str] = (),
        lets_ragged_through: bool = False,
    ):
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
            raise UserError(f"dataset.args.delimiter: found {delimiter!r}; expected one character, such as ; or '\\t'")
        self.path = path
        self.lets_ragged_through = lets_ragged_through
        self.notes: list[str] = []
        self.encoding, self.most_rows = scan(path, encoding)
        if encoding is None and self.encoding in ("cp1252", "latin-1"):
            self.notes.append(
                f"{path}: not UTF-8, read as {self.encoding}; where letters are wrong, set dataset.args.encoding"
            )
        start = next(self._whole_rows(), b"").decode(errors="replace")
        lines = list(io.StringIO(start, newline=None))
        says = re.match(r'"?sep=(.)"?\s*$', lines[0]) if lines else None  # as Excel writes it
        self.delimiter = delimiter or (says and says[1]) or found_delimiter(path, lines)
        reader = csv.reader(lines[bool(says) :], delimiter=self.delimiter)
        header = next((row for row in reader if any(cell.strip() for cell in row)), None)
        if header is None:
            raise UserError(f"{path}: the file is empty")
        self._num_header_lines = reader.line_num + bool(says)
        self.names = checked_names(path, header, self._num_header_lines)
        if len(self.names) == 1 and self.names[0] not in alone:
            raise UserError(
                f"{path}:{self._num_header_lines}: only one column ({self.names[0]}) between "
                f"{DELIMITERS.get(self.delimiter, repr(self.delimiter))}: set dataset.args.delimiter"
            )

    def blocks(self, plain: Set[str] = frozenset(), missing: Sequence[str] = WRITTEN_MISSING) -> Iterator[DataFrame]:
        """Frames of texts, null where there is none, without blank rows. UserError with every row of other length.

        plain: the columns to read as Float64 right away, in blocks where they hold nothing else; it may grow meanwhile.
        missing: what stands for no value; with [], texts are as they were written.
        """
        self._missing = missing
        self.lines = RowLines()
        self.ragged: dict[int, str] = {}
        self._spellings = [[], missing]  # of missing values; to look for them takes time, so first without
        row, line = 0, 1
        for number, block in enumerate(self._whole_rows()):
            num_lines = count(block, b"\n") + (not block.endswith(b"\n"))
            if number == 0:
                skipped = min(self._num_header_lines, num_lines)
                block = block.split(b"\n", skipped)[-1] if num_lines > skipped else b""
                line, num_lines = line + skipped, num_lines - skipped
            if block.strip(b"\r\n"):
                frame, lines = self._frame(block, line, num_lines, plain, row)
                if len(frame):
                    self.lines.append(lines)
                    row += len(frame)
                    yield frame
            line += num_lines
        if self.ragged and not self.lets_ragged_through:
            raise UserError(told([f"{self.path}:{self.lines[row]}: {why}" for row, why in self.ragged.items()]))
        if row == 0:
            raise UserError(f"{self.path}: no rows below the header")

    def _frame(
        self, block: bytes, line: int, num_lines: int, plain: Set[str], first_row: int
    ) -> tuple[DataFrame, Sequence[int]]:
        """The frame of a block, and the line of each row."""
        import polars

        texts = dict.fromkeys(self.names, polars.String)
        numbers = texts | dict.fromkeys(plain, polars.Float64)
        ways = [(numbers, spellings) for spellings in self._spellings if plain]
        for columns, spellings in [*ways, (texts, self._missing)]:
            try:
                frame = polars.read_csv(
                    block, has_header=False, separator=self.delimiter, schema=columns, null_values=spellings
                )
            except polars.exceptions.PolarsError:
                self._spellings = [self._missing]
                continue
            if len(frame) == num_lines and self._is_complete(frame, block):
                return frame, range(line, line + num_lines)
            break
        rows, lines = self._row_by_row(block.decode(), line, first_row)
        return polars.DataFrame(rows, schema=texts, orient="row"), lines

    def _is_complete(self, frame: DataFrame, block: bytes) -> bool:
        """Whether no row is blank, or has too few values, which polars would fill up without a word."""
        import polars
        from polars import selectors

        if frame[:, 0].null_count() and frame.select(polars.all_horizontal(polars.all().is_null()).any()).item():
            return False
        within_quotes = 0
        if b'"' in block:
            in_texts = frame.select(selectors.string().str.count_matches(re.escape(self.delimiter)).sum())
            within_quotes = sum(in_texts.row(0)) if in_texts.width else 0
        num_delimiters = count(block, self.delimiter.encode()) - within_quotes
        return num_delimiters == len(frame) * (len(self.names) - 1)

    def _row_by_row(self, text: str, first_line: int, first_row: int) -> tuple[list[list[str | None]], list[int]]:
        """What polars cannot take, or would change: blank rows are left out, rows of other length are emptied."""
        rows, lines = [], []
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter)
        begins = ends = first_line
        try:
            for row in reader:
                begins, ends = ends, first_line + reader.line_num
                is_ragged = len(row) != len(self.names)
                if is_ragged and ends - begins > 1:
                    raise self._not_closed(begins, ends - 1)
                if any(cell.strip() for cell in row):
                    if is_ragged:
                        found = f"{len(row)} values, but the header has {len(self.names)} columns"
                        self.ragged[first_row + len(rows)] = found
                    rows.append([None] * len(self.names) if is_ragged else [cell or None for cell in row])
                    lines.append(begins)
        except csv.Error as error:
            raise UserError(f"{self.path}:{ends}: {error}") from error
        if ends - begins > 1 and text.count('"') % 2:
            raise self._not_closed(begins, ends - 1)
        return rows, lines

    def _not_closed(self, first: int, last: int) -> UserError:
        """Of lines that a quote makes one row of: those after the first would be lost."""
        return UserError(f"{self.path}:{first}: this row goes on to line {last}: is a quote not closed?")

    def _whole_rows(self) -> Iterator[bytes]:
        rest = b""
        for piece in self._pieces():
            rest += piece
            cut = rest.rfind(b"\n") + 1
            while cut and b'"' in rest and rest.count(b'"', 0, cut) % 2:  # within quotes: the row goes on
                cut = rest.rfind(b"\n", 0, cut - 1) + 1
            if cut:
                yield rest[:cut]
                rest = rest[cut:]
        if rest:
            yield rest

    def _pieces(self) -> Iterator[bytes]:
        """The file as UTF-8, with \\n or \\r\\n at the ends of lines."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        is_utf8 = self.encoding == "utf-8"
        returns_only = None  # as files of old Macs
        with opened(self.path) as file:
            while piece := file.read(BLOCK):
                piece = piece if is_utf8 else decoder.decode(piece).encode()
                if returns_only is None:
                    returns_only = b"\r" in piece and b"\n" not in piece
                yield piece.replace(b"\r", b"\n") if returns_only else piece


def told(mistakes: list[str]) -> str:
    """Mistakes, a line each, cut where they are many."""
    more = [f"... and {len(mistakes) - MOST_TOLD:,} more"] if len(mistakes) > MOST_TOLD else []
    return "\n".join([*mistakes[:MOST_TOLD], *more])


def checked_names(path: str, header: list[str], line: int = 1) -> list[str]:
    """The names of columns, stripped; one without a name gets pandas' `Unnamed: 3`. UserError for one that is twice."""
    names = [str(name).strip() or f"Unnamed: {place}" for place, name in enumerate(header)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError("\n".join(f"{path}:{line}: two columns are called '{name}'" for name in twice))
    return names
