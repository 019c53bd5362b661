"""A column of texts in memory, each different text once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy

from data_loader.tables.cells import cleaned
from utils.blocks import in_blocks

if TYPE_CHECKING:
    from polars import Series


class TextColumn:
    """different: the texts, stripped, a Series in the order of their coming; codes: (rows,), their places.

    The code of a missing one is -1. The type of the codes is the least that holds them: int8, int16 or int32.
    """

    def __init__(self, name: str, most_rows: int):
        self.name = name
        self.codes = numpy.empty(most_rows, numpy.int8)
        self._num_rows = 0
        self._different: list[str] = []
        self._code_of: dict[str | None, int] = {None: -1}  # of texts as they were written, and stripped

    def append(self, values: Series) -> None:
        """What further rows hold, of any type, null where it is missing."""
        import polars

        texts = values.cast(polars.String).to_list()
        new = [text for text in dict.fromkeys(texts) if text not in self._code_of]
        stripped = cleaned(polars.Series(self.name, new, polars.String)).to_list() if new else []
        for text in dict.fromkeys(stripped):
            if text not in self._code_of:
                self._code_of[text] = len(self._different)
                self._different.append(text)
        self._code_of |= zip(new, map(self._code_of.get, stripped), strict=True)
        self.codes = self.codes.astype(numpy.min_scalar_type(-1 - len(self._different)), copy=False)
        end = self._num_rows + len(texts)
        self.codes[self._num_rows : end] = [self._code_of[text] for text in texts]
        self._num_rows = end

    def finish(self) -> None:
        """To be called after the last rows."""
        import polars

        self.codes = self.codes[: self._num_rows]
        self.different = polars.Series(self.name, self._different, polars.String)
        del self._different, self._code_of

    def counts(self, rows: numpy.ndarray | None = None) -> numpy.ndarray:
        """In how many rows, of all or of these, each different text stands, int64; the last: in how many none does."""
        counts = numpy.zeros(len(self.different) + 1, numpy.int64)
        codes = self.codes if rows is None else self.codes[rows]
        for some in in_blocks(len(codes)):
            numpy.add.at(counts, codes[some], 1)
        return counts

    @property
    def has_missing(self) -> bool:
        return bool((self.codes < 0).any())

    def of(self, rows: list[int] | slice | numpy.ndarray) -> list[str | None]:
        """The texts of some rows."""
        texts = self.different.to_list()
        return [None if code < 0 else texts[code] for code in self.codes[rows].tolist()]

    def one_of(self, row: int) -> str:
        """The text of a row that has one."""
        return self.different[int(self.codes[row])]

    def spread(self, values: numpy.ndarray, missing: float) -> numpy.ndarray:
        """What belongs to each different text, for each row: (rows,) in the type of `values`."""
        return numpy.append(values, numpy.array([missing], values.dtype))[self.codes]
