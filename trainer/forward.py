"""The way of one batch: device, float, batch transforms, model, loss. Training, validation and test.py all take it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from base.batch import Batch, Forward, ModelInputs, is_picture_batch, map_tensors, split_target, uint8_to_float
from trainer.compiling import compiled, leave_out_libraries
from trainer.targets import in_own_unit, is_signal_for, mixed, mixes, the_input
from utils.errors import UserError

NO_AUTOCAST = contextlib.nullcontext()
AUTOCAST_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class ForwardPass:
    """Brings a batch to the device and through a model and a loss.

    train_transforms, eval_transforms: modules that take pictures (N, C, H, W) as floats in [0, 1], or with an attribute
    `takes_signals` signals (N, C, T); the last ones for training may mix samples, and take and return targets too.
    precision: fp32, or bf16 or fp16 through autocast. target_scale: mean and deviation by which the data's targets are
    standardised: the loss is of such numbers, and output and target that it leaves behind are in the data's own unit.
    """

    def __init__(
        self,
        loss_fn: Any,
        train_transforms: nn.Sequential,
        eval_transforms: nn.Sequential,
        device: torch.device,
        precision: str = "fp32",
        target_scale: Sequence[Tensor | float] | None = None,
    ):
        self.loss_fn = loss_fn.to(device)
        self.train_transforms = nn.Sequential(*(each for each in train_transforms if not mixes(each))).to(device)
        self.mixing = [each for each in train_transforms if mixes(each)]
        self.eval_transforms = eval_transforms.to(device)
        self.device = device
        self.precision = precision
        numbers = {"dtype": torch.float32, "device": device}
        self.target_scale = target_scale and [torch.as_tensor(part, **numbers) for part in target_scale]
        self.channels_last = False
        self._take = _take

    def __call__(self, model: nn.Module, batch: Batch, *, training: bool) -> Forward:
        asked = {"indices": self._moved(batch.indices), "training": training} if self.loss_fn.asks else {}
        return self._take(self, model, batch.data, training, asked)

    def compile(self, mode: bool | str, dataset: Any) -> None:
        """Have torch.compile make one of all that happens to a batch of a dataset. mode: true, or one of its modes."""
        self.train_transforms = leave_out_libraries(self.train_transforms)
        self.eval_transforms = leave_out_libraries(self.eval_transforms)
        self.mixing = [torch.compiler.disable(each) for each in self.mixing]  # their random numbers come from the CPU
        self._take = compiled(_take, mode, dataset)

    def prepare(self, data: Any, *, training: bool) -> tuple[ModelInputs, Any]:
        """Move a batch to the device and transform its pictures there: the model's inputs and the target."""
        inputs, target = split_target(data)
        transforms = self.train_transforms if training else self.eval_transforms

        def prepared(tensor: Tensor) -> Tensor:
            tensor = uint8_to_float(self._moved(tensor))
            if not is_picture_batch(tensor) and not is_signal_for(transforms, tensor):
                return tensor
            tensor = transforms(tensor)
            return tensor.contiguous(memory_format=torch.channels_last) if self.channels_last else tensor

        args = tuple([map_tensors(value, prepared) for value in inputs.args])
        kwargs = map_tensors(inputs.kwargs, prepared) if inputs.kwargs else {}
        inputs, target = ModelInputs(args, kwargs), map_tensors(target, self._moved)
        return mixed(self.mixing, inputs, target) if training and self.mixing else (inputs, target)

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor if tensor.device == self.device else tensor.to(self.device, non_blocking=True)

    def autocast(self) -> contextlib.AbstractContextManager:
        if self.precision == "fp32":
            return NO_AUTOCAST
        return torch.autocast(self.device.type, dtype=AUTOCAST_DTYPES[self.precision])


def _take(way: ForwardPass, model: nn.Module, data: Any, training: bool, asked: dict[str, Any]) -> Forward:
    inputs, target = way.prepare(data, training=training)
    with way.autocast():
        output = model(*inputs.args, **inputs.kwargs)
        if output is None:
            raise UserError(f"the model {type(model).__name__} returned nothing: end its forward() with `return`")
        if target is None and way.loss_fn.wants_target:
            target = the_input(inputs, way.loss_fn.name)
        loss = way.loss_fn(output, target, **asked)
    if training and way.mixing:
        target = target.argmax(dim=1)
    if way.target_scale is not None:
        output, target = in_own_unit(output, target, *way.target_scale)
    return Forward(inputs, output, target, *loss)
