"""Read a CSV file in blocks of whole rows, as text, with what its encoding and delimiter are found to be."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Set
from typing import TYPE_CHECKING, BinaryIO

import numpy

from data_loader.table_cells import MISSING
from utils.errors import UserError

if TYPE_CHECKING:
    from polars import DataFrame

BLOCK = 3 << 20  # bytes: large enough for polars to be fast, small beside the table that is made of them
DELIMITERS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}
MOST_TOLD = 20
WRITTEN_MISSING = [*MISSING, *map(str.upper, MISSING), "NaN", "None", "Null"]  # others are found later
BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class CsvTable:
    """The rows of a CSV file with a header, in blocks that are read anew each time they are asked for.

    names: the columns; delimiter, encoding: as given or found; most_rows: at least as many as there are; notes: what to
    say of how it was read. UserError when it is absent, empty, no text, without a header or cannot be divided.
    """

    def __init__(self, path: str, delimiter: str | None = None, encoding: str | None = None):
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
            raise UserError(f"dataset.args.delimiter: found {delimiter!r}; expected one character, such as ; or '\\t'")
        self.path = path
        self.notes: list[str] = []
        self.encoding, self.most_rows = _scan(path, encoding)
        if encoding is None and self.encoding in ("cp1252", "latin-1"):
            self.notes.append(
                f"{path}: not UTF-8, read as {self.encoding}; where letters are wrong, set dataset.args.encoding"
            )
        start = next(self._pieces(), b"").decode(errors="replace")
        lines = list(io.StringIO(start, newline=None))
        says = re.match(r'"?sep=(.)"?\s*$', lines[0]) if lines else None  # as Excel writes it
        self.delimiter = delimiter or (says and says[1]) or _found_delimiter(path, lines)
        reader = csv.reader(lines[bool(says) :], delimiter=self.delimiter)
        header = next((row for row in reader if any(cell.strip() for cell in row)), None)
        if header is None:
            raise UserError(f"{path}: the file is empty")
        self._num_header_lines = reader.line_num + bool(says)
        self.names = checked_names(path, header, self._num_header_lines)
        if len(self.names) == 1:
            raise UserError(
                f"{path}:{self._num_header_lines}: only one column ({self.names[0]}) between "
                f"{DELIMITERS.get(self.delimiter, repr(self.delimiter))}: set dataset.args.delimiter"
            )

    def blocks(self, plain: Set[str] = frozenset()) -> Iterator[DataFrame]:
        """Frames of texts, null where there is none, without blank rows. UserError with every row of other length.

        plain: the columns to read as Float64 right away, in blocks where they hold nothing else; it may grow meanwhile.
        """
        self._lines: list[tuple[int, int | list[int]]] = []  # by block: its first row, and its first line or all lines
        self._ragged: list[str] = []
        row, line = 0, 1
        for number, block in enumerate(self._whole_rows()):
            num_lines = _count(block, b"\n") + (not block.endswith(b"\n"))
            if number == 0:
                skipped = min(self._num_header_lines, num_lines)
                block = block.split(b"\n", skipped)[-1] if num_lines > skipped else b""
                line, num_lines = line + skipped, num_lines - skipped
            if block.strip(b"\r\n"):
                frame, lines = self._frame(block, line, num_lines, plain)
                if len(frame):
                    self._lines.append((row, lines))
                    row += len(frame)
                    yield frame
            line += num_lines
        if self._ragged:
            raise UserError(told(self._ragged))
        if row == 0:
            raise UserError(f"{self.path}: no rows below the header")

    def lines_of(self, rows: list[int]) -> list[int]:
        """The line on which each row begins, of those in the blocks read so far."""
        found = []
        for row in rows:
            first, lines = max((start for start in self._lines if start[0] <= row), key=lambda start: start[0])
            found.append(lines + row - first if isinstance(lines, int) else lines[row - first])
        return found

    def _frame(self, block: bytes, line: int, num_lines: int, plain: Set[str]) -> tuple[DataFrame, int | list[int]]:
        """The frame of a block, and its first line or, where a row may begin anywhere, the line of each row."""
        import polars

        texts = dict.fromkeys(self.names, polars.String)
        for columns in ([texts | dict.fromkeys(plain, polars.Float64)] if plain else []) + [texts]:
            try:
                frame = polars.read_csv(
                    block, has_header=False, separator=self.delimiter, schema=columns, null_values=WRITTEN_MISSING
                )
            except polars.exceptions.PolarsError:
                continue
            if len(frame) == num_lines and self._is_complete(frame, block):
                return frame, line
            break
        rows, lines = self._row_by_row(block.decode(), line)
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
        num_delimiters = _count(block, self.delimiter.encode()) - within_quotes
        return num_delimiters == len(frame) * (len(self.names) - 1)

    def _row_by_row(self, text: str, first_line: int) -> tuple[list[list[str]], list[int]]:
        """What polars cannot take, or would change: blank rows are left out, rows of other length are kept to tell."""
        rows, lines = [], []
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter)
        begins = first_line
        try:
            for row in reader:
                if any(cell.strip() for cell in row):
                    if len(row) == len(self.names):
                        rows.append([cell or None for cell in row])
                        lines.append(begins)
                    else:
                        found = f"{len(row)} values, but the header has {len(self.names)} columns"
                        self._ragged.append(f"{self.path}:{begins}: {found}")
                begins = first_line + reader.line_num
        except csv.Error as error:
            raise UserError(f"{self.path}:{begins}: {error}") from error
        return rows, lines

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
        with _opened(self.path) as file:
            while piece := file.read(BLOCK):
                piece = piece if is_utf8 else decoder.decode(piece).encode()
                if returns_only is None:
                    returns_only = b"\r" in piece and b"\n" not in piece
                yield piece.replace(b"\r", b"\n") if returns_only else piece


def _count(block: bytes, byte: bytes) -> int:
    """block.count(byte), several times as fast."""
    if len(byte) > 1:  # a delimiter outside of ASCII
        return block.count(byte)
    return int(numpy.count_nonzero(numpy.frombuffer(block, numpy.uint8) == byte[0]))


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


def _opened(path: str) -> BinaryIO:
    return gzip.open(path, "rb") if path.lower().endswith(".gz") else open(path, "rb")


def _scan(path: str, encoding: str | None) -> tuple[str, int]:
    """The encoding, as given or found, and at most how many lines there are; UserError for what is no text."""
    try:
        with _opened(path) as file:
            start = file.read(4096)
        if encoding is None:
            encoding = next((name for mark, name in BYTE_ORDER_MARKS if start.startswith(mark)), None)
        if encoding is None and start.count(b"\0") > len(start) // 4:
            encoding = "utf-16-be" if start[:1] == b"\0" else "utf-16-le"
        if encoding is not None:
            return _checked(path, codecs.lookup(encoding).name)
        try:
            return _checked(path, "utf-8")
        except UnicodeDecodeError:
            pass
        try:
            return _checked(path, "cp1252")
        except UnicodeDecodeError:
            return _checked(path, "latin-1")
    except LookupError as error:
        raise UserError(f"dataset.args.encoding: found '{encoding}'; expected one such as utf-8 or cp1252") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no {encoding} text ({error.reason}); set dataset.args.encoding") from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _checked(path: str, encoding: str) -> tuple[str, int]:
    """The encoding, and how many lines there are at most. UnicodeDecodeError where the file is not in it."""
    decoder = codecs.getincrementaldecoder(encoding)()
    num_lines = 1
    with _opened(path) as file:
        while piece := file.read(BLOCK):
            if encoding != "utf-8" or not piece.isascii() or decoder.getstate()[0]:
                piece = decoder.decode(piece).encode()
            if b"\0" in piece:
                line = num_lines + piece[: piece.index(b"\0")].count(b"\n")
                raise UserError(f"{path}:{line}: holds a NUL byte, so it is no text or it is damaged")
            num_lines += _count(piece, b"\n") or _count(piece, b"\r")
        decoder.decode(b"", final=True)
    return encoding, num_lines


def _found_delimiter(path: str, lines: list[str]) -> str:
    """The one that divides the first rows into equally many columns, or at least the header into most."""
    lines = lines[:-1] if len(lines) > 2 else lines  # the last may be cut
    widths: dict[str, list[int]] = {}
    for delimiter in DELIMITERS:
        rows = [row for row in csv.reader(lines[:200], delimiter=delimiter) if any(cell.strip() for cell in row)]
        widths[delimiter] = [len(row) for row in rows] or [1]
    even = {each: found[0] for each, found in widths.items() if found[0] > 1 and len(set(found)) == 1}
    candidates = even or {each: found[0] for each, found in widths.items()}
    best = [each for each, width in candidates.items() if width == max(candidates.values())]
    if even and len(best) > 1:
        names = " and ".join(DELIMITERS[each] for each in best)
        raise UserError(f"{path}: {names} divide its rows into equally many columns: set dataset.args.delimiter")
    return best[0]
