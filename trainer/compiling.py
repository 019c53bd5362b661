"""torch.compile, for batches of few sizes."""

from __future__ import annotations

import torch
from torch import nn

from base.batch import map_tensors
from config.schema import CUDA_GRAPH_MODES


def compiled(model: nn.Module, mode: bool | str) -> nn.Module:
    """torch.compile where asked for; a smaller last batch gets a graph of its own, as one for all sizes is slower."""
    if not mode:
        return model
    callable_model = torch.compile(model, mode=None if mode is True else mode, dynamic=False)
    if mode in CUDA_GRAPH_MODES:  # the next call writes over what this one returned, which a metric may keep
        callable_model.register_forward_hook(lambda module, inputs, output: map_tensors(output, torch.clone))
    return callable_model
