"""Any loss that a config names, as a function of (output, target) that returns a mean, its weight and its parts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from base import LOSSES
from base.registries import class_weight_argument
from base.signature import convert, parameters_of, what_it_asks
from config.schema import LossConfig
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


def build_loss(loss: LossConfig) -> Loss:
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
    return Loss(
        loss.type,
        function,
        inputs=None if LOSSES.is_own(loss.type) else _inputs_of(component),
        is_sum=getattr(function, "reduction", args.get("reduction")) == "sum",
        asks=what_it_asks(_called(component)) if LOSSES.is_own(loss.type) else (),
    )


class Loss:
    """A loss as a function of (output, target) that returns a mean, its weight and its parts, whatever is wrapped.

    The weight is what the sum was divided by for the mean: a number or a tensor (); None: the number of samples. Means
    of batches are put together by it, so that no number depends on how the samples were batched.

    inputs: the names of what the wrapped loss takes, in order; those that begin with "target" are filled from the
    target, the others from the output, either of which may be a tuple. None: the wrapped loss is an own one and takes
    both as they are; it returns the mean over the samples, or a sum and what to divide it by, two tensors (). In place
    of one number it may return several by name: their sum is minimised, and they are the parts, None without.
    is_sum: the wrapped loss returns a sum over samples.
    asks: which of `indices` and `training` the wrapped loss gets besides.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Tensor],
        inputs: list[str] | None,
        is_sum: bool,
        asks: Sequence[str] = (),
    ):
        self.name = name
        self.asks = asks
        self.function = function
        self.inputs = inputs
        self.is_sum = is_sum
        self.chooses_a_class = inputs is not None and name in CHOOSE_A_CLASS
        self.compares_like_shapes = inputs is not None and name in COMPARE_LIKE_SHAPES
        self.weighs_targets = inputs is not None and name in WEIGH_TARGETS and not is_sum

    def to(self, device: torch.device) -> Loss:
        """Move what the wrapped loss holds, such as class weights."""
        if isinstance(self.function, nn.Module):
            self.function.to(device)
        return self

    def __call__(self, output: Any, target: Any, **asked: Any) -> tuple[Tensor, Tensor | float | None, Any]:
        if self.inputs is None:
            loss = self.function(output, target, **{name: asked[name] for name in self.asks})
            return self._of_own(loss, target)
        inputs = self._arrange(output, target)
        try:
            loss = self.function(*inputs)
        except (TypeError, ValueError, IndexError, RuntimeError) as error:
            if is_devices(error):
                raise
            if self.weighs_targets and isinstance(error, IndexError):  # "Target 7 is out of bounds."
                raise too_few_scores(int(inputs[1].max()), inputs[0].shape[1]) from error
            shapes = f"output {_shape(output)}, target {_shape(target)}"
            raise UserError(f"loss {self.name}: {error} ({shapes})") from error
        self._checked(loss)
        if self.is_sum:
            return loss / len(inputs[-1]), None, None
        if not self.weighs_targets or inputs[1].is_floating_point():  # probabilities of classes, which all count
            return loss, None, None
        weight = self._weight_of(inputs[1])
        if not weight.is_cpu or torch.compiler.is_compiling():  # a GPU is not waited for, a graph is not cut in two
            return loss.where(weight != 0, 0), weight, None
        weight = weight.item()
        return (loss if weight else inputs[0].sum() * 0), weight, None  # where nothing counts, torch divides 0 by 0

    def _of_own(self, loss: Any, target: Any) -> tuple[Tensor, Tensor | None, dict[str, Tensor] | None]:
        """What an own loss has returned: a mean, or a sum and what to divide it by, in one number or in parts."""
        weight, parts = None, None
        if isinstance(loss, tuple) and len(loss) == 2:
            loss, weight = loss[0], self._checked(loss[1]).detach()
        if isinstance(loss, Mapping) and loss:
            parts = {name: self._checked(part) for name, part in loss.items()}
            loss = sum(parts.values())
        self._checked(loss)
        if weight is None and not self.is_sum:
            return loss, None, parts
        divisor = len(target) if weight is None else torch.where(weight == 0, 1, weight)
        return loss / divisor, weight, parts and {name: part / divisor for name, part in parts.items()}

    def _checked(self, number: Any) -> Tensor:
        """One of the numbers that the wrapped loss returned. UserError unless it is a tensor ()."""
        if not isinstance(number, Tensor) or number.ndim:
            what = f"a tensor of shape {_shape(number)}" if isinstance(number, Tensor) else _shape(number)
            raise UserError(
                f"loss {self.name} returned {what}; it must return one number as a tensor (), the mean over the "
                "samples, or a sum and what to divide it by; or several such numbers by name"
            )
        return number

    def _weight_of(self, target: Tensor) -> Tensor:
        """The sum of the weights of the targets that are not ignored, a tensor ()."""
        options = self.function.options if isinstance(self.function, FunctionalLoss) else vars(self.function)
        is_counted = target != options.get("ignore_index", -100)
        weights = getattr(self.function, "weight", None)
        if weights is None:
            return is_counted.count_nonzero()
        return weights[target.where(is_counted, 0)].where(is_counted, 0).sum()

    def _arrange(self, output: Any, target: Any) -> Sequence[Any]:
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


class FunctionalLoss(nn.Module):
    """A loss function with its options; those that are tensors move with the module."""

    def __init__(self, function: Callable[..., Tensor], options: Mapping[str, Any]):
        super().__init__()
        self.function = function
        self.options = {name: value for name, value in options.items() if not isinstance(value, Tensor)}
        for name, value in options.items():
            if isinstance(value, Tensor):
                self.register_buffer(name, value)

    def forward(self, *inputs: Tensor, **asked: Any) -> Tensor:
        return self.function(*inputs, **asked, **self.options, **self._buffers)


def _shape(value: Any) -> Any:
    """The shape of a tensor, or those of several; of anything else its type."""
    if isinstance(value, (tuple, list)):
        return [_shape(item) for item in value]
    return tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _called(component: Callable) -> Callable:
    """What a loss is at each call."""
    if not inspect.isclass(component):
        return component
    return component.forward if issubclass(component, nn.Module) else component.__call__


def _inputs_of(component: Callable) -> list[str]:
    """The names of the tensors that a library's loss takes at each call."""
    parameters = inspect.signature(_called(component)).parameters
    return [name for name, value in parameters.items() if value.default is value.empty and name != "self"]
