"""How pictures and convolutions lie in memory: channels last is up to twice as fast, where the model can do it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

from base.base_model import kept_as_it_was
from trainer.forward import ForwardPass


def choose_memory_format(
    model: nn.Module, forward_pass: ForwardPass, data: Any, channels_last: bool | Literal["auto"]
) -> None:
    """Bring a model, and the pictures that it will get, into the format asked for. data: a batch to try it on."""
    if channels_last == "auto":
        channels_last = _gains(model, forward_pass) and _runs(model, forward_pass, data)
    forward_pass.set_memory_format(model, channels_last)


def _gains(model: nn.Module, forward_pass: ForwardPass) -> bool:
    """On a CPU as measured (docs/performance.md); on a GPU tensor cores want it, which autocast uses."""
    device = forward_pass.device.type
    convolves = any(isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) for module in model.modules())
    return convolves and (device == "cpu" or (device == "cuda" and forward_pass.precision != "fp32"))


def _runs(model: nn.Module, forward_pass: ForwardPass, data: Any) -> bool:
    """Whether the model takes this format: one with `x.view(len(x), -1)` does not, one with `x.flatten(1)` does."""
    forward_pass.set_memory_format(model, channels_last=True)
    inputs, _ = forward_pass.prepare(data, training=False)
    try:
        with kept_as_it_was(model), torch.no_grad(), forward_pass.autocast():
            model.eval()(*inputs.args, **inputs.kwargs)
    except RuntimeError:
        return False
    return True
