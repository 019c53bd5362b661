"""A model whose weights, gradients and optimizer state are divided among the processes: torch's FSDP2.

Each module that stands beside others of its class, such as the blocks of a transformer, is gathered when its turn comes
and let go again. In a checkpoint too each process has its part: see utils/shards.py.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from utils.errors import UserError

if TYPE_CHECKING:
    from trainer.trainer import Trainer

# The ways to read numbers off a tensor.
READ = {"__array__", "__bool__", "__complex__", "__float__", "__format__", "__int__", "item", "numpy", "tolist"}


def shard(model: nn.Module, precision: str) -> None:
    """Divide the parameters of a model, in place. With bf16 they are gathered, and computed with, in bf16.

    Norms with running statistics keep fp32, as autocast has it: a CPU takes no weights of another type than these.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard  # takes half a second

    in_use = torch.bfloat16 if precision == "bf16" else None
    if scalars := [name for name, parameter in model.named_parameters() if not parameter.ndim]:
        told = f"trainer.parallel: fsdp divides no parameter without an axis, as {', '.join(scalars)} of this model"
        raise UserError(f"{told}; set trainer.parallel to ddp, or give it the shape (1,)")
    # Without one, gradients are added up in the type that they have, which may be float64.
    policy = MixedPrecisionPolicy(param_dtype=in_use, reduce_dtype=in_use and torch.float32)
    norms = [each for each in model.modules() if in_use and getattr(each, "running_mean", None) is not None]
    for norm in norms:
        fully_shard(norm, reshard_after_forward=True)
    for unit in (each for each in (*_units(model), model) if each not in norms):
        # Also of the outermost: what an evaluation has gathered must not be used after the weights have changed.
        fully_shard(unit, mp_policy=policy, reshard_after_forward=True)
        unit.register_forward_pre_hook(_check_own_weights, prepend=True)  # before they are gathered
    for weight in model.parameters():
        if weight.requires_grad:
            weight.register_hook(_refuse_gradient)


def _units(model: nn.Module) -> Iterator[nn.Module]:
    """The modules in lists and sequences that have another of their class beside them, the innermost first."""
    for child in model.children():
        yield from _units(child)
    if isinstance(model, (nn.ModuleList, nn.Sequential)):
        classes = Counter(map(type, model))
        yield from (child for child in model if classes[type(child)] > 1 and any(True for _ in child.parameters()))


def _check_own_weights(module: nn.Module, _inputs: Any) -> None:
    """UserError for torch.func.functional_call: those that are gathered would take the place of what it gives."""
    if not all(isinstance(weight, nn.Parameter) for weight in module.parameters()):
        raise _refusal("functional_call with other weights")


def _refuse_gradient(_gradient: Tensor) -> None:
    """Weights that are gathered for the model get their gradient past autograd, and the mean of all processes."""
    raise _refusal("full_tensor or to_local of a weight, whose gradient would be this process's alone")


def _refusal(why: str) -> UserError:
    return UserError(
        "trainer.parallel: with fsdp, weights are gathered while the model is called as a whole, and the trainer "
        f"takes a part of it, or its weights, by itself ({why}); have it call self.model(...), or set "
        "trainer.parallel to ddp"
    )


def is_divided(tensor: Any) -> bool:
    """Whether this process has a part of a tensor: a DTensor of torch."""
    return hasattr(tensor, "to_local")


class _NoNumbersOfParts(TorchFunctionMode):
    """torch gives the number that is read off a divided tensor as this process's part alone has it."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(function, "__name__", "") in READ and is_divided(args[0]):
            raise RuntimeError(f"{function.__name__} of a DTensor")
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def refusing_parts() -> Iterator[None]:
    """UserError where a step takes weights that are not gathered, instead of torch's error or a wrong number."""
    try:
        with _NoNumbersOfParts():
            yield
    except RuntimeError as error:
        if "DTensor" not in str(error):
            raise
        raise _refusal(str(error)) from error


def own_part(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process has, which may be all of it."""
    return tensor.to_local() if is_divided(tensor) else tensor


def divided(trainer: Trainer, state: Mapping[str, Any]) -> dict[str, Any]:
    """The state in a checkpoint with this process's part of what is divided, which is yet to be read from shards."""
    state = {**state, "model": _of_model(trainer.model, state["model"])}
    if trainer.ema:
        state["ema"] = {**state["ema"], "model": _of_model(trainer.ema.model, state["ema"]["model"])}
    return {**state, "optimizer": _of_optimizer(trainer.optimizer, state["optimizer"])}


def _of_model(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    own = model.state_dict()
    return {name: _part(tensor, own.get(name)) for name, tensor in state.items()}


def _of_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    of_parameters = {
        place: {name: _part(value, parameters[place]) for name, value in values.items()}
        for place, values in state["state"].items()
    }
    return {**state, "state": of_parameters}


def _part(value: Any, like: Tensor | None) -> Any:
    if not is_divided(like) or not isinstance(value, Tensor) or value.shape != like.shape:
        return value
    if value.is_meta:
        return torch.empty_like(like, dtype=value.dtype, requires_grad=False)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
