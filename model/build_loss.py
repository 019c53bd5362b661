"""Any loss that a config names, as a function of (output, target) that returns a mean, and what it is a mean over."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from base import LOSSES
from base.conversion import convert
from base.registries import class_weight_argument
from base.signature import parameters_of
from config.schema import LossConfig
from model.own_loss import FunctionalLoss, LossMean, OwnLoss, checked, inputs_of, shape_of
from utils.errors import UserError, is_devices, too_few_scores

# Losses that would broadcast an output (N, 1) against a target (N,) to (N, N) and go on.
COMPARE_LIKE_SHAPES = (
    *("MSELoss", "mse_loss", "L1Loss", "l1_loss", "SmoothL1Loss", "smooth_l1_loss", "HuberLoss", "huber_loss"),
    *("PoissonNLLLoss", "poisson_nll_loss", "SoftMarginLoss", "soft_margin_loss", "KLDivLoss", "kl_div"),
    *("HingeEmbeddingLoss", "hinge_embedding_loss", "GaussianNLLLoss", "gaussian_nll_loss"),
    *("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"),
)

CHOOSE_A_CLASS = ("CrossEntropyLoss", "cross_entropy")  # of one class always the same one: a loss of 0

# Losses whose mean is over the targets that are not ignored, each with the weight of its class.
WEIGH_TARGETS = (*CHOOSE_A_CLASS, "NLLLoss", "nll_loss")


def build_loss(loss: LossConfig) -> Loss | OwnLoss:
    """The loss that a config names, its class weights given as numbers. UserError for what does not go together."""
    for argument, message in LOSSES.check(loss.type, loss.args, class_weights=loss.class_weights):
        raise UserError(f"loss {loss.type}, {argument}: {message}")
    component = LOSSES.find(loss.type)
    args = dict(loss.args)
    if loss.class_weights is not None:
        args[class_weight_argument(loss.type)] = torch.tensor(loss.class_weights, dtype=torch.get_default_dtype())
    if inspect.isclass(component):
        function = LOSSES.build(loss.type, args)
    else:
        annotations = {name: parameter.annotation for name, parameter in parameters_of(component).by_name.items()}
        function = FunctionalLoss(component, {name: convert(value, annotations[name]) for name, value in args.items()})
    is_sum = getattr(function, "reduction", args.get("reduction")) == "sum"
    if LOSSES.is_own(loss.type):
        return OwnLoss(loss.type, function, is_sum)
    return Loss(loss.type, function, inputs_of(component), is_sum)


class Loss:
    """A library's loss as a function of (output, target) that returns a mean and its weight, whatever it takes itself.

    The weight is what the sum was divided by for the mean: a number or a tensor (); None: the number of samples. Means
    of batches are put together by it, so that no number depends on how the samples were batched.

    inputs: the names of what the wrapped loss takes, in order; those that begin with "target" are filled from the
    target, the others from the output, either of which may be a tuple.
    is_sum: the wrapped loss returns a sum over samples.
    """

    asks = ()  # of `indices` and `training`: none

    def __init__(self, name: str, function: Callable[..., Tensor], inputs: list[str], is_sum: bool):
        self.name = name
        self.function = function
        self.inputs = inputs
        self.is_sum = is_sum
        self.wants_target = any(each.startswith("target") for each in inputs)
        self.chooses_a_class = name in CHOOSE_A_CLASS
        self.compares_like_shapes = name in COMPARE_LIKE_SHAPES
        self.weighs_targets = name in WEIGH_TARGETS and not is_sum

    def to(self, device: torch.device) -> Loss:
        """Move what the wrapped loss holds, such as class weights."""
        if isinstance(self.function, nn.Module):
            self.function.to(device)
        return self

    def state_dict(self) -> dict[str, Any]:
        """Nothing: what it holds comes from the config."""
        return {}

    def __call__(self, output: Any, target: Any) -> LossMean:
        inputs = self.arranged(output, target)
        try:
            loss = self.function(*inputs)
        except (TypeError, ValueError, IndexError, RuntimeError) as error:
            if is_devices(error):
                raise
            if self.weighs_targets and isinstance(error, IndexError):  # "Target 7 is out of bounds."
                raise too_few_scores(int(inputs[1].max()), inputs[0].shape[1]) from error
            shapes = f"output {shape_of(output)}, target {shape_of(target)}"
            raise UserError(f"loss {self.name}: {error} ({shapes})") from error
        checked(self.name, loss)
        if self.is_sum:
            return loss / len(inputs[-1]), None, None
        if not self.weighs_targets or inputs[1].is_floating_point():  # probabilities of classes, which all count
            return loss, None, None
        weight = self.weights_of(inputs[1]).sum()
        if not weight.is_cpu or torch.compiler.is_compiling():  # a GPU is not waited for, a graph is not cut in two
            return loss.where(weight != 0, 0), weight, None
        weight = weight.item()
        return (loss if weight else inputs[0].sum() * 0), weight, None  # where nothing counts, torch divides 0 by 0

    def weights_of(self, target: Tensor) -> Tensor:
        """The weight of each target, in its shape: 0 of those that are ignored."""
        options = self.function.options if isinstance(self.function, FunctionalLoss) else vars(self.function)
        is_counted = target != options.get("ignore_index", -100)
        weights = getattr(self.function, "weight", None)
        if weights is None:
            return is_counted
        return weights[target.where(is_counted, 0)].where(is_counted, 0)

    def arranged(self, output: Any, target: Any) -> Sequence[Any]:
        """The inputs of the wrapped loss in its own order, such as (input1, input2, target)."""
        if len(self.inputs) == 2 and isinstance(output, Tensor) and isinstance(target, Tensor):  # nearly always
            inputs = output, target
        else:
            inputs = self._flattened(output, target)
        if self.compares_like_shapes and inputs[0].shape != inputs[1].shape:
            raise UserError(
                f"loss {self.name}: the model's output has shape {tuple(inputs[0].shape)}, the target "
                f"{tuple(inputs[1].shape)}; they must be the same. Targets of one number a sample have shape (N, 1)."
            )
        if self.chooses_a_class and inputs[0].ndim >= 2 and inputs[0].shape[1] == 1:
            raise UserError(
                f"loss {self.name}: the model gives one score a sample, which is for BCEWithLogitsLoss; "
                "for classes it must give one score a class"
            )
        return inputs

    def _flattened(self, output: Any, target: Any) -> list[Any]:
        from_target = [name.startswith("target") for name in self.inputs]
        outputs = list(output) if isinstance(output, (tuple, list)) else [output]
        targets = list(target) if isinstance(target, (tuple, list)) else [target]
        num_targets = sum(from_target)
        if len(outputs) != len(from_target) - num_targets or num_targets not in (0, len(targets)):
            raise UserError(
                f"loss {self.name} takes {', '.join(self.inputs)}, but the model returned {len(outputs)} tensor(s) and "
                f"the target holds {len(targets)}. A model with auxiliary outputs may have an argument to do without."
            )
        return [(targets if is_target else outputs).pop(0) for is_target in from_target]
