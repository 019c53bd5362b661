"""Batches read by several processes, in the same order and with the same bits as by one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from ctypes import Array
from functools import partial
from multiprocessing import RawArray, active_children
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
        self._process_ids = RawArray("q", num_workers)
        self._loader = DataLoader(
            reader,
            batch_size=None,
            sampler=order,
            collate_fn=_as_it_is,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=True,
            worker_init_fn=partial(_start_worker, self._process_ids),
            generator=torch.Generator(),  # else each epoch would advance the global generator
        )
        # Only at exit: torch ends them earlier where the loader goes. Before multiprocessing does it with SIGTERM,
        # which they ignore.
        Finalize(None, _kill, args=(self._process_ids,), exitpriority=100)

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
            alive = {process.pid for process in active_children()}
            dead = [worker for worker, process_id in enumerate(self._process_ids) if process_id not in alive]
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
