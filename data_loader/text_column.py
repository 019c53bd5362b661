"""A column of texts in memory, each different text once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    from polars import Series


class TextColumn:
    """different: the texts, a Series in the order of their coming; codes: int32 (rows,), their places, -1: missing."""

    def __init__(self, name: str, most_rows: int):
        self.name = name
        self.codes = numpy.empty(most_rows, numpy.int32)
        self._num_rows = 0
        self._places: dict[str, int] = {}

    def append(self, texts: Series) -> None:
        """The texts of further rows, null where one is missing."""
        import polars

        here = texts.unique()
        places = self._places
        codes = [-1 if text is None else places.setdefault(text, len(places)) for text in here.to_list()]
        end = self._num_rows + len(texts)
        self.codes[self._num_rows : end] = texts.replace_strict(
            here, polars.Series(codes, dtype=polars.Int32)
        ).to_numpy()
        self._num_rows = end

    def finish(self) -> None:
        """To be called after the last rows."""
        import polars

        self.codes = self.codes[: self._num_rows]
        self.different = polars.Series(self.name, list(self._places), polars.String)
        del self._places

    @property
    def has_missing(self) -> bool:
        return bool((self.codes < 0).any())

    def of(self, rows: list[int] | numpy.ndarray) -> list[str | None]:
        """The texts of some rows."""
        texts = self.different.to_list()
        return [None if code < 0 else texts[code] for code in self.codes[rows].tolist()]

    def spread(self, values: numpy.ndarray, missing: float) -> numpy.ndarray:
        """What belongs to each different text, for each row: (rows,) in the type of `values`."""
        return numpy.append(values, numpy.array([missing], values.dtype))[self.codes]
