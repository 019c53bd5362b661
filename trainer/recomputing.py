"""Activation checkpointing: what a module computes on its way forward is not kept for the way back, but computed again.

Memory for time (Chen et al., 2016, "Training Deep Nets with Sublinear Memory Cost"), by torch.utils.checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from trainer.optimizer import match_names


class _Recomputed:
    """Goes before the class of a module: its names, weights and class stay what they are."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return super().forward(*args, **kwargs)
        return checkpoint(super().forward, *args, use_reentrant=False, **kwargs)


def recompute(model: nn.Module, globs: str | Sequence[str]) -> None:
    """Have the modules whose names match computed again in the backward pass. UserError where a glob matches none."""
    modules = {name: module for name, module in model.named_modules() if name}
    for name in match_names(globs, modules, "trainer.activation_checkpointing", "module"):
        kind = type(modules[name])
        modules[name].__class__ = type(kind.__name__, (_Recomputed, kind), {"__module__": kind.__module__})
