"""The state of an optimizer, loaded on another device or for another memory format than it was saved with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

# Which kernel runs is a choice of the device at hand, not of the run.
CHOICES_OF_KERNEL = ("fused", "foreach", "capturable", "differentiable")


def load_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Load a state, but keep the optimizer's own kernels, and lay each tensor out in memory like its parameter.

    torch keeps the layout that was saved. Fused kernels take state and weights by their place in memory: where one has
    its channels last and the other not, each weight gets the momentum of another. Raises what torch raises where the
    groups differ.
    """
    own = optimizer.param_groups
    groups = [
        {**saved, **{key: group[key] for key in CHOICES_OF_KERNEL if key in group}}
        for saved, group in zip(state["param_groups"], own, strict=False)
    ]
    if len(state["param_groups"]) == len(own):
        state = {**state, "param_groups": groups}
    optimizer.load_state_dict(state)
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
