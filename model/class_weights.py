"""Weights of classes for losses on unbalanced data."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from base.registries import class_weight_argument
from config.schema import LossConfig
from utils.errors import UserError


def with_class_weights(loss: LossConfig, targets: Any) -> LossConfig:
    """The loss with balanced class weights as numbers: what a checkpoint keeps, so that test.py needs no training data.

    targets: of the training set: classes (N, ...), or for `pos_weight` 0 and 1, (N,) or (N, L). UserError when they
    are None, or do not hold every class.
    """
    if loss.class_weights != "balanced":
        return loss
    if targets is None:
        raise UserError(
            "loss.class_weights is 'balanced', but the training set does not tell its targets before it is read; "
            "give the dataset an attribute `targets`, or a list of weights here"
        )
    targets = torch.as_tensor(targets)
    if class_weight_argument(loss.type) == "pos_weight":
        weights = _balanced_positives(targets)
    else:
        weights = _balanced(targets, loss.args.get("ignore_index", -100))
    return loss.model_copy(update={"class_weights": weights.tolist()})


def _balanced(targets: Tensor, ignore_index: int) -> Tensor:
    """n / (C * n_c) for each class c, as scikit-learn's compute_class_weight('balanced') has it."""
    if targets.is_floating_point():
        raise UserError("loss.class_weights is 'balanced', but the targets are no classes: they are not whole numbers")
    targets = targets.flatten()
    counts = torch.bincount(targets[targets != ignore_index].long())
    missing = (counts == 0).nonzero().flatten().tolist()
    if missing:
        raise UserError(f"loss.class_weights is 'balanced', but no training sample has class {_listed(missing)}")
    return (counts.sum() / (len(counts) * counts)).to(torch.get_default_dtype())


def _balanced_positives(targets: Tensor) -> Tensor:
    """Negatives per positive in each output's targets: positives then weigh as much as negatives together."""
    targets = targets.reshape(len(targets), -1)  # (N,) or (N, L) -> (N, L)
    positives = (targets > 0.5).sum(dim=0)
    one_sided = ((positives == 0) | (positives == len(targets))).nonzero().flatten().tolist()
    if one_sided:
        raise UserError(
            f"loss.class_weights is 'balanced', but all training targets of output {_listed(one_sided)} are the same"
        )
    return ((len(targets) - positives) / positives).to(torch.get_default_dtype())


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:10])) + (" ..." if len(numbers) > 10 else "")
