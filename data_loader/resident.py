"""Data in memory that live on the device: a batch is taken there by index, and no step gathers, pins or copies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from base.batch import Batch
from data_loader.prefetch import pinned_memory
from data_loader.samples import has_way
from utils.errors import UserError
from utils.torch_internals import version_of

if TYPE_CHECKING:
    from data_loader.batch_loader import BatchReader
    from data_loader.order import BatchOrder

SHARE_OF_FREE_MEMORY = 0.25  # of the GPU's, at the start: the rest is for the training


class ResidentData:
    """A copy of a dataset's tensors on a device, made anew where they have changed since.

    Changes that torch does not count are not seen: through `.data`, or in a numpy array that shares the memory.
    """

    def __init__(self, dataset: Any, device: torch.device):
        self._dataset = dataset
        self._device = device
        self._copied: list[tuple[Tensor, float]] = []
        self._copies: list[Tensor] = []

    def take(self, indices: Tensor) -> list[Tensor]:
        """Inputs and targets of these samples. indices: int64 (N,), on the device."""
        tensors = self._dataset.as_tensors()
        if not self._copied or any(
            tensor is not copied or version_of(tensor) != version
            for tensor, (copied, version) in zip(tensors, self._copied, strict=True)
        ):
            self._copied = [(tensor, version_of(tensor)) for tensor in tensors]
            self._copies = []  # frees the old ones first
            self._copies = [tensor.to(self._device) for tensor in tensors]
        return [tensor.index_select(0, indices) for tensor in self._copies]

    def batches(self, order: BatchOrder, epoch: int, first: int) -> Iterator[Batch]:
        """The batches of an epoch from batch `first` on, the same as read anywhere else."""
        indices = order.indices(epoch)
        source = pinned_memory(indices) if self._device.type == "cuda" else indices  # else the GPU would be waited for
        there = source.to(self._device, non_blocking=True)
        for batch in range(first, len(order)):
            part, counts = order.part_of(batch)
            yield Batch(indices[part].clone(), self.take(there[part]), counts=counts)


def resident_data(
    reader: BatchReader, device: torch.device, num_workers: int | str, on_device: bool | Literal["auto"]
) -> ResidentData | None:
    """The data on the device, shared by all parts of a dataset; None where they stay where they are.

    on_device: auto, on CUDA where they fit. UserError when it is true and the data cannot live there.
    """
    why_not = _why_not(reader, num_workers)
    if on_device is True and why_not:
        raise UserError(f"data_loader.on_device: found true, but {why_not}; set it to auto or false")
    if on_device is False or why_not or (on_device == "auto" and not _fits(reader.dataset.as_tensors(), device)):
        return None
    return vars(reader.dataset).setdefault("_resident", ResidentData(reader.dataset, device))


def _why_not(reader: BatchReader, num_workers: int | str) -> str | None:
    dataset = type(reader.dataset).__name__
    if reader.samples.transform is not None:
        return "dataset.transforms work on single samples, on the CPU (batch_transforms work on the device)"
    if num_workers not in (0, "auto"):
        return f"the {num_workers} processes of data_loader.num_workers read on the CPU"
    if not has_way(reader.dataset, "as_tensors") or reader.dataset.as_tensors() is None:
        return f"{dataset} does not hold its samples in memory as tensors, or takes them in a way of its own"
    return None


def _fits(tensors: tuple[Tensor, Tensor], device: torch.device) -> bool:
    if device.type != "cuda":  # a CPU has them already
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sum(tensor.nbytes for tensor in tensors) <= SHARE_OF_FREE_MEMORY * free
