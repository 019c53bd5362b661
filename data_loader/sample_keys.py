"""What the samples of a dataset are known and divided by: names, groups, contents, targets."""

from __future__ import annotations

from typing import Any

import numpy
import torch
from torch import Tensor

from data_loader.in_memory import InMemoryDataset
from data_loader.samples import check_one_each, has_way
from data_loader.splitting import keys_of
from utils.errors import UserError


def targets_of(dataset: Any) -> Tensor | None:
    """The targets of a dataset as a tensor (N, ...), where it has them at hand, as numbers. UserError for too few."""
    try:
        targets = torch.as_tensor(dataset.targets)
    except (AttributeError, TypeError, ValueError, RuntimeError):  # no numbers: a first batch tells more of them
        return None
    check_one_each(dataset, "targets", targets)
    return targets


def strata_targets(dataset: Any, share: float) -> Tensor | None:
    """By what the samples of a dataset are divided evenly: one class number or one float each, (N,); None: by nothing.

    Whole numbers without names, so many that one of each would be more than twice the share, are no classes.
    """
    targets = targets_of(dataset)
    if targets is None or targets.numel() != len(targets) or targets.is_complex():
        return None
    targets = targets.detach().cpu().flatten()
    if targets.is_floating_point():
        return targets.double()
    targets = targets.long()
    is_named = getattr(dataset, "classes", None) is not None
    return targets if is_named or len(targets.unique()) <= 2 * share * len(targets) else targets.double()


def keys_of_samples(dataset: Any) -> numpy.ndarray:
    """The keys of what the samples of a dataset are known by, wherever they lie.

    Its `groups` or `names` where it has them, one text a sample; the content of data in memory; else their places.
    """
    for attribute in ("groups", "names"):
        if (names := getattr(dataset, attribute, None)) is not None:
            check_one_each(dataset, attribute, names)
            if others := [name for name in names if not isinstance(name, (str, bytes))][:1]:
                told = f"{type(dataset).__name__} has {attribute} such as {others[0]!r}"
                raise UserError(f"dataset: {told}; expected one text a sample: [str(name) for name in ...]")
            return keys_of(names)
    if has_way(dataset, "as_tensors") and (tensors := dataset.as_tensors()) is not None:
        return _keys_of_rows(tensors[0])
    return numpy.arange(len(dataset), dtype=numpy.uint64)


def keys_of_contents(dataset: Any) -> numpy.ndarray | None:
    """The keys of what is in the samples, where that is in memory and they are known by something else; else None.

    Those that a dataset has as `content_keys`, uint64 (N,), or of an InMemoryDataset with names or groups.
    """
    if (keys := getattr(dataset, "content_keys", None)) is not None:
        return keys
    is_named = any(getattr(dataset, attribute, None) is not None for attribute in ("groups", "names"))
    return _keys_of_rows(dataset.inputs) if is_named and isinstance(dataset, InMemoryDataset) else None


def _keys_of_rows(tensor: Tensor) -> numpy.ndarray:
    return keys_of(tensor.reshape(len(tensor), -1).contiguous().numpy())
