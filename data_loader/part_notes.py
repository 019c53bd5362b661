"""What to say of how samples came to be divided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from data_loader.sample_keys import keys_of_contents


def told_of_share(sizes: Mapping[str, int], valid: float | int) -> list[str]:
    """A line where groups, which stay whole, make the validation part far larger than asked for. sizes: by split."""
    num_samples = sizes.get("train", 0) + sizes.get("valid", 0)
    asked = valid if isinstance(valid, int) else round(valid * num_samples)
    if "train" not in sizes or sizes.get("valid", 0) <= 2 * asked + 2:
        return []
    found = f"the validation part has {sizes['valid']:,} of {num_samples:,} samples, not {asked:,}: groups stay whole"
    return [f"warning: {found}; without one: data_loader.validation_split=0 trainer.monitor=off"]


def copies_of_training(keys: numpy.ndarray, parts: Mapping[str, Any], what: str) -> list[str]:
    """A line for each other part that has copies of samples of the training part. keys: of what is in each, (N,).

    parts: which samples are in each part, as indices or bool (N,).
    """
    told = []
    for part in ("valid", "test"):
        own = keys[parts[part]]
        if count := numpy.count_nonzero(numpy.isin(own, keys[parts["train"]])):
            of = f"{count:,} of {len(own):,} {what} of the {part} part"
            told.append(f"warning: {of} are in the training part too; what has a `group` in common stays together")
    return told


def copies_in_own_file(valid: Any, train: Any) -> str:
    """A line where a validation part with a file of its own has what the training part has, in memory; else nothing.

    Of parts of one file, their dataset tells.
    """
    if valid is train or "train" in getattr(valid, "part_sizes", {}):
        return ""
    keys, of_training = keys_of_contents(valid), keys_of_contents(train)
    count = 0 if keys is None or of_training is None else numpy.count_nonzero(numpy.isin(keys, of_training))
    told = "validation samples hold what samples of the training part hold: their scores tell of nothing new"
    return f"{count:,} of {len(keys):,} {told}" if count else ""
