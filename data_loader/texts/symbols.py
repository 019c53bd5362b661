"""A long text as numbers: its characters or bytes, and the tokens that a model has for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy

from utils.blocks import in_blocks
from utils.errors import UserError

Kind = Literal["characters", "bytes"]
UNKNOWN = "\ufffd"  # how a character is written that the training part lacks: token 0


def read_symbols(path: str, kind: Kind) -> numpy.ndarray:
    """The bytes of a file, uint8, or the code points of its UTF-8, (N,), in the smallest unsigned type that holds them.

    Bytes, and characters that are all ASCII, stay in the file, and are read where they are asked for; other texts are
    held in memory. UserError for a file that is empty or no UTF-8.
    """
    file = Path(path)
    if not file.is_file() or not file.stat().st_size:
        raise UserError(f"{path}: {'the file is empty' if file.is_file() else 'a text file is needed'}")
    mapped = numpy.memmap(file, numpy.uint8, "r")
    if kind == "bytes" or all((mapped[some] < 128).all() for some in in_blocks(len(mapped))):
        return mapped
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + int(numpy.count_nonzero(mapped[: error.start] == ord("\n")))
        raise UserError(
            f"{path}:{line}: no UTF-8 ({error.reason}); convert the file, or set dataset.args.tokens=bytes"
        ) from error
    points = numpy.frombuffer(text.encode("utf-32-le"), numpy.uint32)
    return points.astype(numpy.min_scalar_type(points.max()))


class Tokens:
    """Tokens by number: every byte; or the characters of the training part, behind token 0 for all others.

    characters: in rising order; None: tokens are bytes.
    """

    def __init__(self, characters: str | None):
        self.characters = characters
        self.known = numpy.arange(256) if characters is None else numpy.array([*map(ord, characters)])
        self.number = len(self.known) + (characters is not None)

    @classmethod
    def of(cls, symbols: numpy.ndarray, kind: Kind) -> Tokens:
        """Those of a text, as `read_symbols` gives it."""
        if kind == "bytes":
            return cls(None)
        is_known = numpy.zeros(1 + int(numpy.iinfo(symbols.dtype).max if symbols.itemsize < 4 else 0x10FFFF), bool)
        for some in in_blocks(len(symbols)):
            is_known[symbols[some]] = True
        return cls("".join(map(chr, is_known.nonzero()[0])))

    def count_unknown(self, symbols: numpy.ndarray) -> int:
        """How many of the symbols (N,) are token 0, which stands for what the training part lacks."""
        if self.characters is None:
            return 0
        return sum(int((self.encode(symbols[some]) == 0).sum()) for some in in_blocks(len(symbols)))

    def encode(self, symbols: numpy.ndarray) -> numpy.ndarray:
        """The tokens of symbols of any shape, int64."""
        if self.characters is None:
            return symbols.astype(numpy.int64)
        places = numpy.minimum(self.known.searchsorted(symbols), len(self.known) - 1)
        return (places + 1) * (self.known[places] == symbols)

    def encode_text(self, text: str) -> numpy.ndarray:
        """The tokens of a text, int64 (N,)."""
        of_bytes = self.characters is None
        raw = text.encode("utf-8" if of_bytes else "utf-32-le", "surrogatepass")
        return self.encode(numpy.frombuffer(raw, numpy.uint8 if of_bytes else numpy.uint32))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens; bytes that are no UTF-8, and token 0 of characters, are written as �."""
        if self.characters is None:
            return bytes(tokens).decode(errors="replace")
        return "".join((UNKNOWN + self.characters)[token] for token in tokens)
