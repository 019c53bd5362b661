"""Data held in memory and taken a batch at a time."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

from utils.errors import UserError


class InMemoryDataset(Dataset):
    """Inputs (N, ...) and targets (N, ...) as two tensors; `__getitems__` takes a whole batch by index.

    targets: None for samples without. classes: the names of the classes by number; None where targets are no classes.
    """

    draws_random_numbers = False

    def __init__(self, inputs: Tensor, targets: Tensor | None, classes: list[str] | None = None):
        if targets is not None and len(inputs) != len(targets):
            raise UserError(f"{type(self).__name__}: {len(inputs)} inputs, but {len(targets)} targets")
        self.inputs = inputs
        self.targets = targets
        self.classes = classes

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.as_tensors())

    def __getitems__(self, indices: Tensor) -> tuple[Tensor, ...]:
        # tensor[indices] says the same and takes 20 times as long on uint8.
        return tuple(tensor.index_select(0, indices) for tensor in self.as_tensors())

    def as_tensors(self) -> tuple[Tensor, ...]:
        """What the samples are rows of, for a loader to take them on a GPU."""
        return (self.inputs,) if self.targets is None else (self.inputs, self.targets)


def class_targets(numbers) -> Tensor:
    """Class numbers (list, array or tensor) as the int64 tensor (N,) that classification losses expect."""
    return torch.as_tensor(numbers, dtype=torch.int64)
