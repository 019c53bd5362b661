"""Whether pictures and convolutions lie with their channels last: up to twice as fast, where the model can do it."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from base.base_model import kept_as_it_was
from trainer.forward import ForwardPass
from utils.errors import UserError, is_devices


def choose_memory_format(forward_pass: ForwardPass, model: nn.Module, data: Any, channels_last: bool | str) -> None:
    """Lay the model and the pictures that it gets out as asked for: True, False or `auto`. data: a batch to try.

    UserError for True where no weight of the model has channels, height and width.
    """
    if channels_last == "auto":
        channels_last = _gains(forward_pass, model) and _runs(forward_pass, model, data)
    elif channels_last and all(weight.ndim != 4 for weight in model.parameters()):
        told = f"found true, but {type(model).__name__} has no convolution of pictures, and nothing would change"
        raise UserError(f"trainer.channels_last: {told}; leave it out")
    set_memory_format(forward_pass, model, channels_last)


def set_memory_format(forward_pass: ForwardPass, model: nn.Module, channels_last: bool) -> None:
    """Keep the model, and the pictures that it gets from now on, with channels last or in torch's usual format."""
    forward_pass.channels_last = channels_last
    model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _gains(forward_pass: ForwardPass, model: nn.Module) -> bool:
    """On a CPU as measured (docs/performance.md); on a GPU tensor cores want it, which autocast uses."""
    convolves = any(isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) for module in model.modules())
    device = forward_pass.device.type
    return convolves and (device == "cpu" or (device == "cuda" and forward_pass.precision != "fp32"))


def _runs(forward_pass: ForwardPass, model: nn.Module, data: Any) -> bool:
    """A model with `x.view(len(x), -1)` does not take it, one with `x.flatten(1)` does."""
    set_memory_format(forward_pass, model, channels_last=True)
    inputs, _ = forward_pass.prepare(data, training=False)
    try:
        with kept_as_it_was(model), torch.no_grad(), forward_pass.autocast():
            model.eval()(*inputs.args, **inputs.kwargs)
    except RuntimeError as error:
        if is_devices(error):
            raise
        return False
    return True
