"""Batches on the GPU before they are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import torch
from torch import Tensor

from base.batch import Batch, map_tensors


@cache
def copying_stream(device: torch.device) -> torch.cuda.Stream:
    """The one stream for copies to a device: the allocator keeps memory of its own for each that there ever was."""
    return torch.cuda.Stream(device)


def pinned_memory(tensor: Tensor) -> Tensor:
    """The tensor where a GPU can fetch it by itself; one that a dataset gives on a GPU stays there."""
    return tensor.pin_memory() if tensor.is_cpu and not tensor.is_pinned() else tensor


def on_device_ahead(batches: Iterable[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches, each copied to a CUDA device while the one before it is in use; `indices` stay on the CPU.

    The copies run on a stream of their own, from pinned memory, so that neither the CPU nor the model waits for them.
    """
    stream = copying_stream(device)

    def copy(batch: Batch) -> tuple[Batch, torch.cuda.Event]:
        pinned = map_tensors(batch.data, pinned_memory)
        with torch.cuda.stream(stream):
            data = map_tensors(pinned, lambda tensor: tensor.to(device, non_blocking=True))
            return batch._replace(data=data), stream.record_event()

    def release(batch: Batch, copied: torch.cuda.Event) -> Batch:
        user = torch.cuda.current_stream(device)
        user.wait_event(copied)
        # Else the allocator would give the memory to the next copy while the user's kernels still read it.
        map_tensors(batch.data, lambda tensor: tensor.record_stream(user))
        return batch

    waiting = None
    for batch in batches:
        copied = copy(batch)
        if waiting is not None:
            yield release(*waiting)
        waiting = copied
    if waiting is not None:
        yield release(*waiting)
