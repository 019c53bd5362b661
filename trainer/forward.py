"""The way of one batch: device, float, batch transforms, model, loss. Training, validation and test.py all take it."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from base.base_model import kept_as_it_was
from base.batch import Forward, ModelInputs, is_picture_batch, map_tensors, split_target, uint8_to_float
from utils.errors import UserError, is_devices

NO_AUTOCAST = contextlib.nullcontext()
AUTOCAST_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class ForwardPass:
    """Brings a batch to the device and through a model and a loss.

    train_transforms, eval_transforms: modules that take pictures (N, C, H, W) as floats in [0, 1].
    precision: fp32, or bf16 or fp16 through autocast.
    """

    def __init__(
        self,
        loss_fn: Any,
        train_transforms: nn.Module,
        eval_transforms: nn.Module,
        device: torch.device,
        precision: str = "fp32",
    ):
        self.loss_fn = loss_fn.to(device)
        self.train_transforms = train_transforms.to(device)
        self.eval_transforms = eval_transforms.to(device)
        self.device = device
        self.precision = precision
        self.channels_last = False

    def __call__(self, model: nn.Module, data: Any, *, training: bool) -> Forward:
        inputs, target = self.prepare(data, training=training)
        with self.autocast():
            output = model(*inputs.args, **inputs.kwargs)
            if output is None:
                raise UserError(f"the model {type(model).__name__} returned nothing: end its forward() with `return`")
            loss, weight = self.loss_fn(output, target)
        return Forward(inputs, output, target, loss, weight)

    def prepare(self, data: Any, *, training: bool) -> tuple[ModelInputs, Any]:
        """Move a batch to the device and transform its pictures there: the model's inputs and the target."""
        inputs, target = split_target(data)
        transforms = self.train_transforms if training else self.eval_transforms

        def prepared(tensor: Tensor) -> Tensor:
            tensor = uint8_to_float(self._moved(tensor))
            if not is_picture_batch(tensor):
                return tensor
            tensor = transforms(tensor)
            return tensor.contiguous(memory_format=torch.channels_last) if self.channels_last else tensor

        args = tuple([map_tensors(value, prepared) for value in inputs.args])
        kwargs = map_tensors(inputs.kwargs, prepared) if inputs.kwargs else {}
        return ModelInputs(args, kwargs), map_tensors(target, self._moved)

    def choose_memory_format(self, model: nn.Module, data: Any, channels_last: bool | str) -> None:
        """Lay the model and the pictures that it gets out as asked for: True, False or `auto`. data: a batch to try.

        Channels last is up to twice as fast, where the model can do it (docs/performance.md).
        """
        if channels_last == "auto":
            channels_last = self._gains_by_channels_last(model) and self._runs_with_channels_last(model, data)
        self.set_memory_format(model, channels_last)

    def set_memory_format(self, model: nn.Module, channels_last: bool) -> None:
        """Keep the model, and the pictures that it gets from now on, with channels last or in torch's usual format."""
        self.channels_last = channels_last
        model.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)

    def _gains_by_channels_last(self, model: nn.Module) -> bool:
        """On a CPU as measured; on a GPU tensor cores want it, which autocast uses."""
        convolves = any(isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) for module in model.modules())
        device = self.device.type
        return convolves and (device == "cpu" or (device == "cuda" and self.precision != "fp32"))

    def _runs_with_channels_last(self, model: nn.Module, data: Any) -> bool:
        """A model with `x.view(len(x), -1)` does not take it, one with `x.flatten(1)` does."""
        self.set_memory_format(model, channels_last=True)
        inputs, _ = self.prepare(data, training=False)
        try:
            with kept_as_it_was(model), torch.no_grad(), self.autocast():
                model.eval()(*inputs.args, **inputs.kwargs)
        except RuntimeError as error:
            if is_devices(error):
                raise
            return False
        return True

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor if tensor.device == self.device else tensor.to(self.device, non_blocking=True)

    def autocast(self) -> contextlib.AbstractContextManager:
        if self.precision == "fp32":
            return NO_AUTOCAST
        return torch.autocast(self.device.type, dtype=AUTOCAST_DTYPES[self.precision])
