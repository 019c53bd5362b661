"""Own metrics: registered functions of (output, target) that return one value per sample, (N,).

What follows `target` can be set under `args`. The values are averaged over all samples of an epoch or a split. Where
not all of a sample counts, a metric returns for each a sum and how much it is of, two tensors (N,). One that is no mean
(F1, AUROC, R2) is one of torchmetrics', or an own subclass of torchmetrics.Metric. `threshold` and `ignore_index` are
filled in with what the loss means by them where the config leaves them out.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from base import METRICS, Count
from base.batch import are_class_scores
from utils.errors import UserError


@METRICS.register
def accuracy(
    output: Tensor, target: Tensor, threshold: float | None = None, ignore_index: int = -100
) -> Tensor | tuple[Tensor, Tensor]:
    """Share of right answers, of samples or of their pixels or labels.

    output: class scores (N, C, ...) for classes (N, ...), those of ignore_index left out; or for targets of 0 and 1 one
    score each, where those above threshold mean 1: logits by default; 0.5 is the one for probabilities.
    """
    if not are_class_scores(output, target):
        _check_shapes("accuracy", output, target)
        is_right = (output > (threshold or 0.0)) == (target > 0.5)
        return is_right if is_right.ndim == 1 else is_right.flatten(1).float().mean(dim=1)
    if threshold is not None:
        raise UserError(f"accuracy: threshold is {threshold}, but the model gives a score a class: the highest counts")
    is_right, is_counted = output.argmax(dim=1) == target, target != ignore_index
    if target.ndim == 1:
        return is_right & is_counted, is_counted
    return (is_right & is_counted).flatten(1).sum(dim=1), is_counted.flatten(1).sum(dim=1)


@METRICS.register
def top_k_accuracy(output: Tensor, target: Tensor, k: Count = 5, ignore_index: int = -100) -> tuple[Tensor, Tensor]:
    """Whether the right class is among the k of highest score. output: (N, C); target: (N,)."""
    if k > output.shape[1]:
        raise UserError(f"metric top_k_accuracy: k is {k}, but the model tells only {output.shape[1]} classes apart")
    is_counted = target != ignore_index
    return (output.topk(k, dim=1).indices == target[:, None]).any(dim=1) & is_counted, is_counted


@METRICS.register
def exact_match(
    output: Tensor, target: Tensor, threshold: float | None = None, ignore_index: int = -100
) -> Tensor | tuple[Tensor, Tensor]:
    """Whether every label or pixel of a sample is right; arguments as for accuracy."""
    right = accuracy(output, target, threshold, ignore_index)
    if isinstance(right, Tensor):
        return right == 1
    num_right, num_counted = right
    return (num_right == num_counted) & (num_counted > 0), num_counted > 0


@METRICS.register
def log_loss(output: Tensor, target: Tensor, ignore_index: int = -100, in_bits: bool = False) -> tuple[Tensor, Tensor]:
    """Cross entropy in nats or bits, without the loss' weights and smoothing. output: logits (N, C, ...)."""
    losses = F.cross_entropy(output, target, ignore_index=ignore_index, reduction="none").reshape(len(target), -1)
    is_counted = (target != ignore_index).reshape(len(target), -1)
    return losses.sum(dim=1) / (math.log(2) if in_bits else 1), is_counted.sum(dim=1)


@METRICS.register
def mean_absolute_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean of |output - target| over the values of a sample, in the target's unit."""
    _check_shapes("mean_absolute_error", output, target)
    return (output - target).abs().reshape(len(output), -1).mean(dim=1)


@METRICS.register
def mean_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean of (output - target) ** 2 over the values of a sample."""
    _check_shapes("mean_squared_error", output, target)
    return (output - target).square().reshape(len(output), -1).mean(dim=1)


def _check_shapes(metric: str, output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:  # (N, 1) and (N,) would broadcast to (N, N)
        raise UserError(
            f"metric {metric}: the model's output has shape {tuple(output.shape)}, the target {tuple(target.shape)}; "
            "they must be the same. Targets of one number a sample have shape (N, 1)."
        )
