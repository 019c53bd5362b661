"""What a CSV file is written in: its encoding and its delimiter."""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from typing import BinaryIO

import numpy

from utils.errors import UserError

PIECE = 1 << 20  # bytes
DELIMITERS = {",": "','", ";": "';'", "\t": "a tab", "|": "'|'"}
BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def opened(path: str) -> BinaryIO:
    return gzip.open(path, "rb") if path.lower().endswith(".gz") else open(path, "rb")


def scan(path: str, encoding: str | None) -> tuple[str, int]:
    """The encoding, as given or found, and at most how many lines there are; UserError for what is no text."""
    try:
        with opened(path) as file:
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
    with opened(path) as file:
        while piece := file.read(PIECE):
            if encoding != "utf-8" or not piece.isascii() or decoder.getstate()[0]:
                piece = decoder.decode(piece).encode()
            if b"\0" in piece:
                line = num_lines + piece[: piece.index(b"\0")].count(b"\n")
                raise UserError(f"{path}:{line}: holds a NUL byte, so it is no text or it is damaged")
            num_lines += count(piece, b"\n") or count(piece, b"\r")
        decoder.decode(b"", final=True)
    return encoding, num_lines


def found_delimiter(path: str, lines: list[str]) -> str:
    """The one that divides the first rows into equally many columns, or at least the header into most."""
    lines = lines[:-1] if len(lines) > 2 else lines  # the last may be cut
    widths: dict[str, list[int]] = {}
    for delimiter in DELIMITERS:
        try:
            rows = [row for row in csv.reader(lines[:200], delimiter=delimiter) if any(cell.strip() for cell in row)]
        except csv.Error:  # more than 131,072 characters without one
            rows = []
        widths[delimiter] = [len(row) for row in rows] or [1]
    even = {each: found[0] for each, found in widths.items() if found[0] > 1 and len(set(found)) == 1}
    candidates = even or {each: found[0] for each, found in widths.items()}
    best = [each for each, width in candidates.items() if width == max(candidates.values())]
    if even and len(best) > 1:
        names = " and ".join(DELIMITERS[each] for each in best)
        raise UserError(f"{path}: {names} divide its rows into equally many columns: set dataset.args.delimiter")
    return best[0]


def count(block: bytes, byte: bytes) -> int:
    """block.count(byte), several times as fast."""
    if len(byte) > 1:  # a delimiter outside of ASCII
        return block.count(byte)
    return int(numpy.count_nonzero(numpy.frombuffer(block, numpy.uint8) == byte[0]))
