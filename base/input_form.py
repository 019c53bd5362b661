"""Transforms that give inputs the form that a model learns from, and that evaluation and later training must keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Unlike augmentation, these stand in the lists for training and evaluation with the same arguments.
FORMING = ("Normalize", "LogMel", "MFCC")


def forming(dataset: Mapping[str, Any], split: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The name and arguments of each of them. dataset: its config; split: train or eval."""
    transforms = (each for kind in ("transforms", "batch_transforms") for each in dataset[kind][split])
    return [(each["type"], each["args"]) for each in transforms if each["type"] in FORMING]


def told_forms(transforms: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """As a message names them."""
    calls = (f"{name}({', '.join(f'{key}={value}' for key, value in args.items())})" for name, args in transforms)
    return ", ".join(calls) or f"no {' or '.join(FORMING)}"
