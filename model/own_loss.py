"""What a loss returns: one number; an own one may return it as a sum with what to divide it by, and in named parts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from base.signature import what_it_asks
from utils.errors import UserError

LossMean = tuple[Tensor, Tensor | float | None, dict[str, Tensor] | None]  # a mean, its weight, its parts


class OwnLoss:
    """A loss of one's own as a function of (output, target), both as they are, that returns a mean and its weight.

    It returns the mean over the samples, or a sum and what to divide it by, tensors (). In place of the mean or the sum
    it may return several by name: their sum is minimised, and each is logged. Where it has parameters of these names,
    it gets `indices`, int64 (N,) on the device, and `training`. Buffers of its own are in checkpoints.
    """

    weighs_targets = False
    wants_target = False  # it gets None where samples have none

    def __init__(self, name: str, function: Callable[..., Any], is_sum: bool):
        self.name = name
        self.function = function
        self.is_sum = is_sum
        self.asks = what_it_asks(called_of(function))
        names = [key for key, each in self._parameters().items() if each.requires_grad]
        if names:
            told = f"loss {name} has weights of its own ({', '.join(names)}), which no optimizer trains"
            raise UserError(f"{told}: put them into the model, whose output may be a tuple or a dict, or freeze them")

    def to(self, device: torch.device) -> OwnLoss:
        """Move what the loss holds, such as class weights."""
        if isinstance(self.function, nn.Module):
            self.function.to(device)
        return self

    def state_dict(self) -> dict[str, Tensor]:
        """The buffers of a loss that has some: what it remembers. Frozen weights come from its code."""
        if not isinstance(self.function, nn.Module) or isinstance(self.function, FunctionalLoss):
            return {}
        return {name: value for name, value in self.function.state_dict().items() if name not in self._parameters()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.function.load_state_dict(state, strict=False)

    def _parameters(self) -> dict[str, nn.Parameter]:
        return dict(self.function.named_parameters()) if isinstance(self.function, nn.Module) else {}

    def __call__(self, output: Any, target: Any, **asked: Any) -> LossMean:
        loss = self.function(output, target, **{name: asked[name] for name in self.asks})
        weight, parts = None, None
        if isinstance(loss, tuple) and len(loss) == 2:
            loss, weight = loss[0], checked(self.name, loss[1]).detach()
        if isinstance(loss, Mapping) and loss:
            parts = {name: in_full(checked(self.name, part)) for name, part in loss.items()}
            loss = sum(parts.values())
        checked(self.name, loss)
        if weight is None and not self.is_sum:
            return loss, None, parts
        divisor = len(target) if weight is None else torch.where(weight == 0, 1, weight)
        return loss / divisor, weight, parts and {name: part / divisor for name, part in parts.items()}


class FunctionalLoss(nn.Module):
    """A loss function with its options; those that are tensors move with the module."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]):
        super().__init__()
        self.function = function
        self.options = {name: value for name, value in options.items() if not isinstance(value, Tensor)}
        for name, value in options.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)

    def forward(self, *inputs: Tensor, **asked: Any) -> Any:
        return self.function(*inputs, **asked, **self.options, **self._buffers)


def in_full(number: Tensor) -> Tensor:
    """A number in float32 where autocast made it smaller: in a sum, a small part beside a large one would vanish."""
    return number.float() if number.dtype in (torch.float16, torch.bfloat16) else number


def called_of(function: Any) -> Callable[..., Any]:
    """What runs at each call of a loss: its function, or a module's `forward`."""
    if isinstance(function, FunctionalLoss):
        return function.function
    return function.forward if isinstance(function, nn.Module) else function


def checked(name: str, number: Any) -> Tensor:
    """One of the numbers that a loss returned. UserError unless it is a tensor ()."""
    if not isinstance(number, Tensor) or number.ndim:
        what = f"a tensor of shape {shape_of(number)}" if isinstance(number, Tensor) else shape_of(number)
        raise UserError(
            f"loss {name} returned {what}; it must return one number as a tensor (), the mean over the "
            "samples, or a sum and what to divide it by; or several such numbers by name"
        )
    return number


def inputs_of(component: Callable) -> list[str]:
    """The names of the tensors that a library's loss takes at each call."""
    parameters = inspect.signature(component.forward if inspect.isclass(component) else component).parameters
    return [name for name, value in parameters.items() if value.default is value.empty and name != "self"]


def shape_of(value: Any) -> Any:
    """The shape of a tensor, or those of several; of anything else its type."""
    if isinstance(value, (tuple, list)):
        return [shape_of(item) for item in value]
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
