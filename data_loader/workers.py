"""Batches read by several processes, in the same order and with the same bits as by one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from multiprocessing import RawArray
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

import torch
from torch.utils.data import DataLoader

from base.batch import Batch
from data_loader.samples import DataError, SampleError

if TYPE_CHECKING:
    from data_loader.batch_loader import BatchOrder, BatchReader


class WorkerProcesses:
    """torch's DataLoader over batches instead of samples; its processes stay alive between epochs."""

    def __init__(self, reader: BatchReader, order: BatchOrder, num_workers: int, pin_memory: bool):
        self._samples = reader.samples
        self._samples.under_way = RawArray("q", [-1] * num_workers)
        self._loader = DataLoader(
            reader,
            batch_size=None,
            sampler=order,
            collate_fn=_as_it_is,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=True,
            worker_init_fn=_ignore_signals,
            generator=torch.Generator(),  # else each epoch would advance the global generator
        )
        # At exit: before multiprocessing ends its daemons with SIGTERM, which the workers ignore.
        Finalize(self, _stop_workers, args=(self._loader,), exitpriority=100)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The batches of the order. DataError when one cannot be read or a process dies, SampleError of own code."""
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
            dead = [worker for worker, process in enumerate(self._loader._iterator._workers) if not process.is_alive()]
            if isinstance(error, (DataError, SampleError)) or not dead:
                raise
            under_way = (self._samples.under_way[worker] for worker in dead)
            reading = ", ".join(self._samples.name_of(index) for index in under_way if index >= 0)
            raise DataError(
                f"a loader process died in epoch {epoch}{reading and ', while it read '}{reading}: {error}\n"
                "Out of memory is the usual reason: lower data_loader.num_workers or data_loader.batch_size."
            ) from error


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
