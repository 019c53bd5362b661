"""torch.compile of all that lies between a batch and its loss."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import nn

from base.batch import Forward, map_tensors
from config.schema import CUDA_GRAPH_MODES


def compiled(forward: Callable[..., Forward], mode: bool | str, dataset: Any) -> Callable[..., Forward]:
    """The same function in as few kernels as there can be; mode: true, or a mode of torch.compile.

    A smaller last batch gets a graph of its own, as one for all sizes is slower. torch allows for eight graphs of the
    same code, so each run has code of its own: else a third one in the same process would not be compiled. Where the
    dataset has `lengths`, these would be used up soon: all batches get the same graph.
    """
    own = FunctionType(forward.__code__.replace(), forward.__globals__, forward.__name__)
    is_dynamic = getattr(dataset, "lengths", None) is not None
    run = torch.compile(own, mode=None if mode is True else mode, dynamic=is_dynamic)
    if mode not in CUDA_GRAPH_MODES:
        return run

    def copied(*args: Any) -> Forward:
        result = run(*args)  # the next call writes over it, while a metric or the guard may have kept it
        return Forward(*map_tensors(tuple(result), torch.clone))

    return copied


def leave_out_libraries(transforms: nn.Sequential) -> nn.Sequential:
    """Keep transforms of other libraries out of the graph: it would hold what they decide once in Python."""
    is_own = [not type(module).__module__.startswith("kornia") for module in transforms]
    return nn.Sequential(
        *(module if own else torch.compiler.disable(module) for module, own in zip(transforms, is_own, strict=True))
    )
