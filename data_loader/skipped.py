"""Samples that are left out because they cannot be read: told once, and counted together by all processes."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator

from base.batch import Batch
from data_loader.samples import DataError
from utils.distributed import gathered, num_ranks

logger = logging.getLogger(__name__)


class Skipped:
    """most: how many different samples may be left out."""

    def __init__(self, name_of: Callable[[int], str], most: int):
        self.name_of = name_of
        self.most = most
        self._indices: set[int] = set()
        self._not_told: list[tuple[int, str]] = []

    def counted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The same batches. A process alone tells at once, several when they are together."""
        for batch in batches:
            self._not_told += batch.skipped
            if num_ranks() == 1:
                self.tell()
            yield batch
        self.tell()

    def tell(self) -> None:
        """Tell of what any process has left out. DataError when it is too much."""
        if not self.most:  # none has left out any
            return
        of_all, self._not_told = itertools.chain.from_iterable(gathered(self._not_told)), []
        for index, reason in of_all:
            if index not in self._indices:
                self._indices.add(index)
                logger.warning("%s; left out, %d of at most %d", reason, len(self._indices), self.most)
        if len(self._indices) > self.most:
            raise DataError(
                f"{len(self._indices)} samples could not be read, and data_loader.skip_bad_samples is "
                f"{self.most}: {', '.join(map(self.name_of, sorted(self._indices)[:10]))}"
            )
