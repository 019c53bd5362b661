"""Batches in an order that depends on seed and epoch only, read by any number of processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from multiprocessing.util import Finalize

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data_loader.order import BatchOrder
from data_loader.prefetch import on_device_ahead
from data_loader.reading import Batch, BatchReader, DataError


class BatchLoader:
    """Yields the batches of an epoch, from any batch on; on a CUDA device they are there already.

    dataset: what the indices in a Batch refer to; num_samples: how many of its samples belong to this loader;
    len(): batches an epoch.
    """

    def __init__(
        self, reader: BatchReader, order: BatchOrder, num_workers: int = 0, device: torch.device = torch.device("cpu")
    ):
        self.dataset: Dataset = reader.dataset
        self.num_samples = order.num_samples
        self.batch_size = order.batch_size
        self.num_workers = num_workers
        self._reader = reader
        self._order = order
        self._device = device
        if num_workers:
            self._loader = DataLoader(
                reader,
                batch_size=None,
                sampler=order,
                collate_fn=_as_it_is,
                num_workers=num_workers,
                pin_memory=device.type == "cuda",
                persistent_workers=True,
                worker_init_fn=_ignore_signals,
                generator=torch.Generator(),  # else each epoch would advance the global generator
            )
            # At exit: before multiprocessing ends its daemons with SIGTERM, which the workers ignore.
            Finalize(self, _stop_workers, args=(self._loader,), exitpriority=100)

    def __len__(self) -> int:
        return len(self._order)

    def batches(self, epoch: int = 0, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from batch `first` on. DataError when one cannot be read or a worker dies."""
        batches = self._read(epoch, first)
        return on_device_ahead(batches, self._device) if self._device.type == "cuda" else batches

    def _read(self, epoch: int, first: int) -> Iterator[Batch]:
        self._order.epoch, self._order.first = epoch, first
        if self.num_workers == 0:  # DataLoader would do the same and take 30 us a batch for it
            yield from map(self._reader.__getitem__, self._order)
            return
        try:
            yield from self._loader
        except RuntimeError as error:
            if isinstance(error, DataError) or "DataLoader worker" not in str(error):
                raise
            raise DataError(
                f"a loader process died in epoch {epoch}: {error}\n"
                "Out of memory is the usual reason: lower data_loader.num_workers or data_loader.batch_size."
            ) from error

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


def _ignore_signals(worker: int) -> None:
    """A signal to all processes (Ctrl-C, a scheduler's warning) is for the main one to act on: it ends the workers."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _stop_workers(loader: DataLoader) -> None:
    iterator, loader._iterator = loader._iterator, None
    if iterator is None:
        return
    iterator._shutdown_workers()
    for worker in iterator._workers:
        worker.kill()  # one that hangs in a read; the others have ended
