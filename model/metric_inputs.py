"""What metrics are given: output and target in the same unit, which depends on the loss of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from base import LOSSES
from base.batch import are_class_scores
from base.running_mean import widest_float
from config.schema import LossConfig
from model.build_loss import CHOOSE_A_CLASS, WEIGH_TARGETS

if TYPE_CHECKING:
    from torchmetrics import Metric

# With targets of 0 and 1, what a model learns by these are probabilities too, though some lie a little outside.
COMPARE_NUMBERS = (
    *("MSELoss", "mse_loss", "L1Loss", "l1_loss", "SmoothL1Loss", "smooth_l1_loss", "HuberLoss", "huber_loss"),
)
TAKE_LOGITS_OF_SHARES = (
    *("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"),
    *("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"),
)
LARGEST_ROUNDING = 1e-3  # of shares of classes, whose sum is 1
TAKE_MARGINS = ("MultiMarginLoss", "multi_margin_loss")
TAKE_LOGARITHMS = {
    **dict.fromkeys(("PoissonNLLLoss", "poisson_nll_loss"), ("log_input", True)),
    **dict.fromkeys(("KLDivLoss", "kl_div"), ("log_target", False)),
}


def takes_probabilities(loss_type: str) -> bool:
    """Whether a model trained with this loss puts out probabilities, not logits, which their values cannot tell.

    BCELoss takes them, and so do own losses that say so in an attribute `takes_probabilities`.
    """
    if LOSSES.is_own(loss_type):  # also where it is called as a library's
        return getattr(LOSSES.find(loss_type), "takes_probabilities", False)
    return loss_type in ("BCELoss", "binary_cross_entropy", *COMPARE_NUMBERS)


def takes_margins(loss_type: str) -> bool:
    """Whether scores of a model trained with this loss rank classes, and are worth nothing more; own ones say so."""
    if LOSSES.is_own(loss_type):
        return getattr(LOSSES.find(loss_type), "takes_margins", False)
    return loss_type in TAKE_MARGINS


def takes_logarithms(loss: LossConfig) -> bool:
    """Whether a model trained with this loss puts out logarithms of what its targets are."""
    argument, value = TAKE_LOGARITHMS.get(loss.type, ("", None))
    return value is not None and not LOSSES.is_own(loss.type) and loss.args.get(argument, value) is value


class MetricInputs:
    """Makes of output and target what a metric compares. loss: what the model is trained with, if that is known."""

    def __init__(self, loss: LossConfig | None):
        is_library = loss is not None and not LOSSES.is_own(loss.type)
        self.are_probabilities = loss is not None and takes_probabilities(loss.type)
        self._are_margins = loss is not None and takes_margins(loss.type)
        self._are_logarithms = loss is not None and takes_logarithms(loss)
        self._are_logits = is_library and loss.type in TAKE_LOGITS_OF_SHARES
        self._chooses_a_class = is_library and loss.type in CHOOSE_A_CLASS
        self._is_of_classes = is_library and loss.type in (*WEIGH_TARGETS, *TAKE_MARGINS)

    def numbers(self, output: Any, target: Any) -> tuple[Any, Any]:
        """For metrics of numbers: the output in the unit of the target."""
        if not isinstance(output, Tensor):
            return output, target
        if self._are_logarithms:
            return output.exp(), target
        if self._are_logits:
            return output.sigmoid(), target
        return (output.softmax(dim=1) if self._are_shares(output, target) else output), target

    def answers(self, output: Any, target: Any) -> tuple[Any, Any]:
        """For metrics of right and wrong answers: of targets that are shares of classes, the greatest is the class."""
        return output, target.argmax(dim=1) if self._are_shares(output, target) else target

    def _are_shares(self, output: Any, target: Any) -> bool:
        return self._chooses_a_class and isinstance(target, Tensor) and is_share_a_class(output, target)

    def of_torchmetrics(self, metric: Metric, output: Any, target: Any) -> tuple[Any, Any]:
        """For a metric of torchmetrics what it wants; an own one gets them as they are. ValueError as it raises."""
        library, _, room = type(metric).__module__.partition(".")
        if library != "torchmetrics" or not isinstance(output, Tensor) or not isinstance(target, Tensor):
            return output, target
        room = room.split(".")[0]
        if room == "classification":
            return self._classification(metric, output, target)
        if room == "regression":
            exact = widest_float(output.device)  # R2 and the like are differences of large sums
            output, target = self.numbers(output.to(exact), target.to(exact) if target.is_floating_point() else target)
            is_column = output.shape == target.shape and output.shape[1:] == (1,)
            return (output.squeeze(1), target.squeeze(1)) if is_column else (output, target)  # (N, 1) -> (N,)
        if room == "text" and are_class_scores(output, target):  # Perplexity
            return output.movedim(1, -1), target  # (N, C, T) -> (N, T, C)
        if room in ("segmentation", "clustering", "nominal") and are_class_scores(output, target):
            return output.argmax(dim=1), target  # (N, C, ...) -> (N, ...)
        return output, target

    def _classification(self, metric: Metric, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        name = type(metric).__name__
        if name.startswith("Multilabel") and self._is_of_classes:
            raise ValueError(
                "it is for labels of which any may be right, and with this loss a model chooses one class: "
                "use one that begins with Multiclass, or BCEWithLogitsLoss"
            )
        if not output.is_floating_point():
            return output, target.long()
        if name.startswith("Multiclass"):
            if is_share_a_class(output, target):
                is_looked_at = getattr(metric, "validate_args", False)  # at each batch, which waits for the device
                if is_looked_at and bool(((target.sum(dim=1) - 1).abs() > LARGEST_ROUNDING).any()):
                    raise ValueError(
                        "targets have several labels a sample, or none: use one that begins with Multilabel"
                    )
                target = target.argmax(dim=1)
            # Of log probabilities, softmax is the probabilities again. Of margins it would change the order of samples.
            scores = _from_0_to_1(output) if self._are_margins else output.softmax(dim=1)
            return scores, target.long()
        # To look at the values of every batch would wait for the device.
        if getattr(metric, "validate_args", False) and bool((target != target.round()).any()):
            raise ValueError("found targets between whole numbers; expected 0 and 1")
        if name.startswith("Binary") and output.ndim == target.ndim + 1 and output.shape[1] == 2:
            return output.softmax(dim=1)[:, 1], target.long()  # (N, 2) -> (N,), a model with two class scores
        probabilities = output.clamp(0, 1) if self.are_probabilities else output.sigmoid()
        if name.startswith("Binary") and probabilities.shape != target.shape:
            probabilities = probabilities.reshape(target.shape)  # (N, 1) with targets (N,)
        return probabilities, target.long()


def is_share_a_class(output: Tensor, target: Tensor) -> bool:
    """Is this a share of each class, (N, C, ...), for as many scores?"""
    return target.is_floating_point() and target.ndim > 1 and target.shape == output.shape


def _from_0_to_1(scores: Tensor) -> Tensor:
    """In the same order, for torchmetrics takes softmax of what is not from 0 to 1."""
    scores = scores.to(widest_float(scores.device))
    return (1 + scores / (1 + scores.abs())) / 2
