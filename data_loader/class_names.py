"""Classes of other data by their names: a number means what it meant in training, or nothing is evaluated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from base.batch import Batch, split_target, with_target
from config.problems import did_you_mean
from data_loader.batch_loader import BatchLoader
from utils.errors import UserError


def batches_with_classes(loader: BatchLoader, classes: Sequence[str] | None) -> Iterator[Batch]:
    """The batches of a loader in their order, with the numbers that `classes` gives to the classes.

    classes: their names in the checkpoint; None: it has none, and the numbers stay as they are. UserError for a class
    that is not among them, and for targets that no number can be taken from.
    """
    if classes is None or loader.classes is None or loader.classes == list(classes):
        return loader.batches()
    names = loader.classes
    if unknown := [name for name in names if name not in classes]:
        listed = ", ".join(unknown[:10]) + (" ..." if len(unknown) > 10 else "")
        hint = did_you_mean(unknown[0], classes)
        raise UserError(f"the data have classes that the checkpoint does not know: {listed}{hint}")
    return _renumbered(loader, torch.tensor([list(classes).index(name) for name in names]))


def _renumbered(loader: BatchLoader, numbers: Tensor) -> Iterator[Batch]:
    for batch in loader.batches():
        _, target = split_target(batch.data)
        if not isinstance(target, Tensor) or target.is_floating_point():
            raise UserError(
                f"{type(loader.dataset).__name__} numbers its classes otherwise than in training, and its targets are "
                "no class numbers to be mapped: give it a keyword `preprocessing`, and keep its classes in that"
            )
        is_class = (target >= 0) & (target < len(numbers))  # others are what a loss ignores
        known = numbers.to(target.device)[target.where(is_class, 0)]
        yield batch._replace(data=with_target(batch.data, known.where(is_class, target)))
