"""The loss of a batch sample by sample: by what it is a mean over, the parts can be put together again."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from base.batch import map_tensors
from model.build_loss import Loss
from model.own_loss import FunctionalLoss, OwnLoss

SumAndWeight = tuple[Tensor, Tensor]  # both float64 (N,) on the CPU


def losses_by_sample(
    loss_fn: Loss | OwnLoss,
    target_scale: Sequence[Tensor] | None,
    output: Any,
    target: Any,
    indices: Tensor,
) -> dict[str, SumAndWeight]:
    """For each sample its sum of losses and what it is to be divided by, under `loss`; parts under `loss_NAME`.

    target_scale: mean and deviation of the numbers that the loss is of, where output and target are in another unit.
    output, target: of a batch; indices: int64 (N,) on their device. What a loss refuses of a single sample, it raises.
    """
    if target_scale is not None:
        mean, deviation = target_scale
        output, target = map_tensors((output, target), lambda tensor: (tensor - mean) / deviation)
    unreduced = _unreduced(loss_fn)
    if unreduced is not None:
        return {"loss": _by_element(loss_fn, unreduced, output, target)}
    found: dict[str, list[tuple[float, float]]] = {}
    for place in range(len(indices)):
        one = slice(place, place + 1)
        asked = {"indices": indices[one], "training": False}
        of_one = map_tensors((output, target), lambda tensor, one=one: tensor[one])
        mean, weight, parts = loss_fn(*of_one, **{name: asked[name] for name in loss_fn.asks})
        weight = 1.0 if weight is None else float(weight)
        named = {"loss": mean, **{f"loss_{name}": part for name, part in (parts or {}).items()}}
        for name, value in named.items():
            found.setdefault(name, []).append((float(value) * weight, weight))
    return {name: tuple(torch.tensor(pairs, dtype=torch.float64).T) for name, pairs in found.items()}


def _unreduced(loss_fn: Loss | OwnLoss) -> Callable[..., Tensor] | None:
    """The function of a library's loss that gives a value for each element; None where it has none."""
    function = loss_fn.function
    if not isinstance(loss_fn, Loss):
        return None
    if isinstance(function, FunctionalLoss):
        if function.options.get("reduction", "mean") not in ("mean", "sum"):
            return None
        return partial(function.function, **{**function.options, "reduction": "none"}, **dict(function.named_buffers()))
    if not isinstance(function, nn.Module) or getattr(function, "reduction", None) not in ("mean", "sum"):
        return None
    function = copy.copy(function)
    function.reduction = "none"
    return function


def _by_element(loss_fn: Loss, unreduced: Callable[..., Tensor], output: Any, target: Any) -> SumAndWeight:
    inputs = loss_fn.arranged(output, target)
    values = unreduced(*inputs).detach()
    values = values.reshape(len(values), -1).cpu().double()
    if loss_fn.is_sum:
        sums, weights = values.sum(dim=1), torch.ones(len(values))
    elif loss_fn.weighs_targets and not inputs[1].is_floating_point():
        sums, weights = values.sum(dim=1), loss_fn.weights_of(inputs[1]).reshape(len(values), -1).sum(dim=1)
    else:
        sums, weights = values.mean(dim=1), torch.ones(len(values))
    return sums, weights.cpu().double()
