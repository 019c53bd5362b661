"""`loss.backward()`, `optimizer.step()` and `optimizer.zero_grad()`, without what torch wraps around them.

That checks arguments which are never given here, and serves torch's profiler and compiler: 60 us a step, more than
the arithmetic of a small model, and at the first step it imports the compiler, as much again as torch itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import graph
from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer

from utils.constants import constant

_run_engine = getattr(graph, "_engine_run_backward", None)  # not promised to be there for ever


def backward(loss: Tensor) -> None:
    """Add the gradients of `loss`, a real tensor (), to those of the weights."""
    if _run_engine is None or type(loss) is not Tensor:  # a subclass may have a way of its own
        loss.backward()
    else:
        one = constant(1.0, loss.device, loss.dtype)
        _run_engine((loss,), (one,), False, False, (), allow_unreachable=True, accumulate_grad=True)


def take_step(optimizer: Optimizer) -> None:
    """Let the optimizer change the weights: with all that is around it where hooks or higher derivatives need it."""
    own_hooks = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    global_hooks = torch_optimizer._global_optimizer_pre_hooks or torch_optimizer._global_optimizer_post_hooks
    if own_hooks or global_hooks or optimizer.defaults.get("differentiable"):
        optimizer.step()
    else:
        with torch.no_grad():
            _unwrapped_step(type(optimizer))(optimizer)


@cache
def _unwrapped_step(optimizer: type[Optimizer]) -> Callable[[Optimizer], Any]:
    def is_own(step: Any) -> bool:  # one with a decorator that is an object has no __globals__
        return getattr(step, "__globals__", {}).get("__name__") != torch_optimizer.__name__

    return inspect.unwrap(optimizer.step, stop=is_own)


def clear_gradients(optimizer: Optimizer) -> None:
    """Forget the gradients of all weights that the optimizer has."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
