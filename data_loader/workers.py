"""Batches read by several processes, in the same order and with the same bits as by one."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
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
from utils.torch_internals import call_at_the_end_of, call_when_unsent

if TYPE_CHECKING:
    from data_loader.batch_loader import BatchReader
    from data_loader.order import BatchOrder


class WorkerProcesses:
    """torch's DataLoader over batches instead of samples; its processes stay alive between epochs."""

    def __init__(self, reader: BatchReader, order: BatchOrder, num_workers: int, pin_memory: bool):
        self._samples = reader.samples
        self._samples.under_way = RawArray("q", [-1] * num_workers)
        self._process_ids = RawArray("q", num_workers)
        self._last_words = RawArray("c", 1000)
        self._are_started = False
        self._loader = DataLoader(
            reader,
            batch_size=None,
            sampler=order,
            collate_fn=_as_it_is,
            num_workers=num_workers,
            pin_memory=pin_memory,
            persistent_workers=True,
            worker_init_fn=partial(_start_worker, self._process_ids, self._last_words),
            generator=torch.Generator(),  # else each epoch would advance the global generator
        )
        # At exit, before multiprocessing does it with SIGTERM, which they ignore.
        Finalize(None, _kill, args=(self._process_ids,), exitpriority=100)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """The batches of the order. DataError when one cannot be read or a process dies, SampleError of own code."""
        try:
            batches = iter(self._loader) if self._are_started else self._start()
            if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
                # Torch's would raise wherever the main thread is when a worker dies; we hear of it at the next batch.
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for batch in batches:
                if isinstance(batch, DataError):
                    raise batch
                yield batch
        except (RuntimeError, OSError, EOFError) as error:  # the last two: of a batch that was on its way
            told = None if isinstance(error, (DataError, SampleError)) else self._what_happened(epoch, error)
            _kill(self._process_ids)  # torch would wait ten seconds for each that cannot go on without the dead one
            if told is None:
                raise
            raise DataError(told) from error

    def _start(self) -> Iterator[Batch]:
        """Start the processes, all of them or, with a DataError, none."""
        others = active_children()
        try:
            batches = iter(self._loader)
        except Exception as error:  # of every kind, from no memory left to a dataset that cannot be pickled
            started = [process for process in active_children() if process not in others]
            for process in started:
                process.kill()
                process.join()
            _let_go(error)
            raise DataError(
                f"loader process {len(started) + 1} of {self._loader.num_workers} cannot be started: {error}\n"
                "Lower data_loader.num_workers (0: this process reads); fewer need less of what `ulimit -a` shows."
            ) from error
        self._are_started = True
        # They have nothing to lose: torch would ask them to end where its iterator goes, and wait for those that read.
        call_at_the_end_of(batches, partial(_kill, self._process_ids))
        return batches

    def _what_happened(self, epoch: int, error: Exception) -> str:
        alive = {process.pid for process in active_children()}
        dead = [worker for worker, process_id in enumerate(self._process_ids) if process_id not in alive]
        if self._last_words.value:
            told = self._last_words.value.decode(errors="replace")
            return (
                f"a loader process cannot hand over a batch in epoch {epoch}: {told}\n"
                "Lower data_loader.num_workers (0: this process reads) or data_loader.batch_size."
            )
        if not dead:
            return f"no batch comes from the loader processes in epoch {epoch}: {error}"
        under_way = (self._samples.under_way[worker] for worker in dead)
        reading = ", ".join(self._samples.name_of(index) for index in under_way if index >= 0)
        return (
            f"a loader process died in epoch {epoch}{reading and ', while it read '}{reading}: {error}\n"
            "Out of memory is the usual reason: lower data_loader.num_workers or data_loader.batch_size."
        )


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _start_worker(process_ids: Array, last_words: Array, worker: int) -> None:
    """A signal to all processes (Ctrl-C, a scheduler's warning) is for the main one to act on: it ends the workers."""
    gc.freeze()  # else a loader that the main process has not collected yet would be ended here, with its open files
    process_ids[worker] = os.getpid()
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def die_of(error: Exception) -> None:
        told = f"{type(error).__name__}: {error}"
        last_words.value = told.encode()[: len(last_words) - 1]
        os._exit(1)

    call_when_unsent(die_of)


def _let_go(error: Exception) -> None:
    """Drop the half-built iterator that the traceback holds: it has no processes left, and torch's end fails at it."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        traceback.clear_frames(error.__traceback__)
    finally:
        sys.unraisablehook = hook


def _kill(process_ids: Array) -> None:
    for process in active_children():
        if process.pid in list(process_ids):
            process.kill()
