"""Batches in an order that depends on seed and epoch only, read by any number of processes."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from ctypes import Array
from functools import partial
from multiprocessing import RawArray, active_children
from multiprocessing.util import Finalize

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data_loader.order import BatchOrder
from data_loader.prefetch import on_device_ahead
from data_loader.reading import Batch, BatchReader, DataError, SampleError

logger = logging.getLogger(__name__)


class BatchLoader:
    """Yields the batches of an epoch, from any batch on; on a CUDA device they are there already.

    dataset: what the indices in a Batch refer to; num_samples: how many of its samples belong to this loader;
    len(): batches an epoch. skip_bad_samples: how many different samples may be left out because they cannot be read.
    """

    def __init__(
        self,
        reader: BatchReader,
        order: BatchOrder,
        num_workers: int = 0,
        device: torch.device | str = "cpu",
        skip_bad_samples: int = 0,
    ):
        self.dataset: Dataset = reader.dataset
        self.num_samples = order.num_samples
        self.batch_size = order.batch_size
        self.num_workers = num_workers
        self._reader = reader
        self._order = order
        self._device = torch.device(device)
        self._num_may_skip = skip_bad_samples
        self._skipped: set[int] = set()
        if num_workers:
            reader.under_way = RawArray("q", [-1] * num_workers)
            self._process_ids = RawArray("q", num_workers)
            self._loader = DataLoader(
                reader,
                batch_size=None,
                sampler=order,
                collate_fn=_as_it_is,
                num_workers=num_workers,
                pin_memory=self._device.type == "cuda",
                persistent_workers=True,
                worker_init_fn=partial(_start_worker, self._process_ids),
                generator=torch.Generator(),  # else each epoch would advance the global generator
            )
            # Only at exit: torch ends them earlier where the loader goes. Before multiprocessing does it with SIGTERM,
            # which they ignore.
            Finalize(None, _kill, args=(self._process_ids,), exitpriority=100)

    def __len__(self) -> int:
        return len(self._order)

    def batches(self, epoch: int = 0, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from batch `first` on.

        DataError when one cannot be read or a worker dies, SampleError when the code of a dataset or transform fails.
        """
        batches = self._count_skipped(self._read(epoch, first))
        return on_device_ahead(batches, self._device) if self._device.type == "cuda" else batches

    def _read(self, epoch: int, first: int) -> Iterator[Batch]:
        self._order.epoch, self._order.first = epoch, first
        if self.num_workers == 0:  # DataLoader would do the same and take 30 us a batch for it
            yield from map(self._reader.__getitem__, self._order)
            return
        try:
            batches = iter(self._loader)
            if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
                # Torch's would raise wherever the main thread is when a worker dies; we hear of it at the next batch.
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for batch in batches:
                if isinstance(batch, DataError):
                    raise batch
                yield batch
        except (RuntimeError, OSError, EOFError) as error:  # the last two: of a batch that was on its way
            alive = {process.pid for process in active_children()}
            dead = [worker for worker, process_id in enumerate(self._process_ids) if process_id not in alive]
            if isinstance(error, (DataError, SampleError)) or not dead:
                raise
            reading = ", ".join(self.name_of(i) for i in (self._reader.under_way[worker] for worker in dead) if i >= 0)
            raise DataError(
                f"a loader process died in epoch {epoch}{reading and ', while it read '}{reading}: {error}\n"
                "Out of memory is the usual reason: lower data_loader.num_workers or data_loader.batch_size."
            ) from error

    def _count_skipped(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Tell of each sample that is left out, once. DataError when there are too many."""
        for batch in batches:
            for index, reason in batch.skipped:
                if index not in self._skipped:
                    self._skipped.add(index)
                    logger.warning("%s; left out, %d of at most %d", reason, len(self._skipped), self._num_may_skip)
            if len(self._skipped) > self._num_may_skip:
                raise DataError(
                    f"{len(self._skipped)} samples could not be read, and data_loader.skip_bad_samples is "
                    f"{self._num_may_skip}: {', '.join(map(self.name_of, sorted(self._skipped)[:10]))}"
                )
            yield batch

    def example(self) -> Batch:
        """A batch of at most two samples, the first ones, read by this process."""
        indices = torch.arange(min(2, self.num_samples))
        return self._reader[0, indices if self._order.members is None else self._order.members[indices]]

    def name_of(self, index: int) -> str:
        """`sample 7`, with the name of its file where the dataset knows one."""
        return self._reader.name_of(int(index))

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes by number, where the dataset has them."""
        return getattr(self.dataset, "classes", None)

    @property
    def targets(self) -> Tensor | None:
        """The targets of this loader's samples, where the dataset has them at hand."""
        targets = getattr(self.dataset, "targets", None)
        if targets is None:
            return None
        members = self._order.members
        return torch.as_tensor(targets) if members is None else torch.as_tensor(targets).index_select(0, members)


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _start_worker(process_ids: Array, worker: int) -> None:
    """A signal to all processes (Ctrl-C, a scheduler's warning) is for the main one to act on: it ends the workers."""
    process_ids[worker] = os.getpid()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _kill(process_ids: Array) -> None:
    for process in active_children():
        if process.pid in list(process_ids):
            process.kill()
