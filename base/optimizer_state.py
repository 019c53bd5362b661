"""The state of an optimizer, loaded on another device or for another memory format than it was saved with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

# Which kernel runs is a choice of the device at hand, not of the run.
CHOICES_OF_KERNEL = ("fused", "foreach", "capturable", "differentiable")


def with_momentum(optimizer: Optimizer) -> Optimizer:
    """Let torch's fused SGD begin with a momentum of zero, which gives the same bits.

    It takes memory as it is for the momentum of a first step; where the loss scaler of fp16 leaves this step out, as it
    often does, what was in that memory would move the weights. With dampening, a first step is another than the rest.
    """
    for group in optimizer.param_groups if type(optimizer) is SGD else ():
        if group["fused"] and group["momentum"] and not group["dampening"]:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


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
