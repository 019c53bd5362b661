"""What the outputs of a model say: a class, labels or values, each with its scores. One place says so for all.

It follows from the loss that the model was trained with and from what its targets are, not from the outputs' shape
alone: two outputs may be two classes, or two numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from base import LOSSES
from base.target_kind import TargetKind
from config.schema import LossConfig
from model.metric_inputs import COMPARE_NUMBERS, TAKE_MARGINS, takes_logarithms, takes_margins, takes_probabilities
from utils.errors import UserError

# A score a class. Of log-probabilities, softmax is the probabilities again.
OF_CLASSES = {
    **dict.fromkeys(("CrossEntropyLoss", "cross_entropy", "NLLLoss", "nll_loss"), "logits"),
    **dict.fromkeys(TAKE_MARGINS, "margins"),
}
# A score for each of several labels, or one for the second of two classes.
OF_LABELS = {
    **dict.fromkeys(("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"), "logits"),
    **dict.fromkeys(("SoftMarginLoss", "soft_margin_loss"), "logits"),
    **dict.fromkeys(("MultiLabelSoftMarginLoss", "multilabel_soft_margin_loss"), "logits"),
    **dict.fromkeys(("BCELoss", "binary_cross_entropy"), "probabilities"),
}
OF_VALUES = (*COMPARE_NUMBERS, "PoissonNLLLoss", "poisson_nll_loss")


class NoAnswerError(UserError):
    """The outputs are neither classes nor labels nor values, or nothing says which: the message tells why."""


class Answers:
    """How the outputs of a model are read, on any device: what it predicts, and the scores of that.

    kind: classes, of which one is right; labels, any of which may be; values.
    names: of the classes, labels or values, one for each score.
    scale: of the outputs: logits, probabilities, margins (which are scores, and no probabilities), logarithms (of
        values) or values.
    is_single: one output a sample, for the second of two classes.
    """

    def __init__(
        self, kind: Literal["classes", "labels", "values"], names: Sequence[str], scale: str, is_single: bool = False
    ):
        self.kind = kind
        how_often = Counter(names)
        self.names = [f"{name} ({i})" if how_often[name] > 1 else name for i, name in enumerate(names)]
        self.scale = scale
        self.is_single = is_single
        self.are_probabilities = kind != "values" and scale in ("logits", "probabilities")

    def read(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """What is predicted and the scores of all names, (N, names) in float32 on the CPU.

        Predicted: of classes their numbers, int64 (N,); of labels bool (N, names); of values the scores themselves.
        """
        output = output.detach().float().reshape(len(output), -1)
        if self.kind == "values":
            into_values = {"logarithms": Tensor.exp, "logits": Tensor.sigmoid}
            values = into_values.get(self.scale, Tensor.clone)(output).cpu()
            return values, values
        threshold = 0.5 if self.scale in ("probabilities", "values") else 0.0
        if self.kind == "labels":
            return (output > threshold).cpu(), (output.sigmoid() if self.scale == "logits" else output).cpu()
        if self.is_single:
            return (output[:, 0] > threshold).long().cpu(), self._of_both(output).cpu()
        scores = output.softmax(dim=1) if self.scale == "logits" else output
        return output.argmax(dim=1).cpu(), scores.cpu()

    def _of_both(self, output: Tensor) -> Tensor:
        """(N, 1) for the second of two classes -> (N, 2)."""
        if self.scale == "logits":
            return torch.cat([-output, output], dim=1).sigmoid()  # 1 - p would lose the digits of a small one
        return torch.cat([-output if self.scale == "margins" else 1 - output, output], dim=1)

    def true(self, target: Tensor) -> Tensor:
        """The targets of a batch in the form of what is predicted, on the CPU; a class may be a number that is none."""
        target = target.detach().cpu()
        if self.kind == "values":
            return target.float().reshape(len(target), -1)
        if self.kind == "labels":
            return target.reshape(len(target), -1) > 0.5
        if self.is_single:
            return (target.reshape(len(target)) > 0.5).long()  # 0 and 1, or -1 and 1
        return target.argmax(dim=1) if target.ndim == 2 else target.long()  # shares of classes: the greatest


def answers_of(
    loss: LossConfig,
    output: Any,
    target: TargetKind | None,
    classes: Sequence[str] | None,
    value_names: Sequence[str] | None = None,
) -> Answers:
    """How the outputs of a model trained with this loss are read. NoAnswerError where that is not known.

    output: of a batch. target: what its targets are; None where samples have none. classes: their names by number.
    value_names: those of values, where the dataset has them.
    """
    if not isinstance(output, Tensor) or output.ndim not in (1, 2):
        found = f"{tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise NoAnswerError(f"the model returns {found}; only (N,) and (N, K) have a row a sample")
    width = output.shape[1] if output.ndim == 2 else 1
    kind, scale = _kind_of(loss, width, target, classes)
    if kind == "labels" and width == 1:
        return Answers("classes", _names(classes, 2), scale, is_single=True)
    if kind == "values":
        names = value_names if value_names is not None and len(value_names) == width else classes
        return Answers("values", _names(names, width), scale)
    if kind == "classes" and classes is not None:  # some of which may have no name
        classes = [*classes, *map(str, range(len(classes), width))][:width]
    return Answers(kind, _names(classes, width), scale)


def _kind_of(
    loss: LossConfig, width: int, target: TargetKind | None, classes: Sequence[str] | None
) -> tuple[Literal["classes", "labels", "values"], str]:
    """What outputs (N, width) are, and in which scale; one of two classes by a single output is a label."""
    is_one_of_two = width == 1 and classes is not None and len(classes) == 2
    if LOSSES.is_own(loss.type):
        return _kind_of_own(loss.type, width, target, classes, is_one_of_two)
    if loss.type in OF_CLASSES and width > 1:
        return "classes", OF_CLASSES[loss.type]
    if loss.type in OF_LABELS:  # also for shares, such as the brightness of pixels that are to be given back
        return "labels" if target is not None and target.is_binary else "values", OF_LABELS[loss.type]
    if loss.type in OF_VALUES:
        is_logarithm = takes_logarithms(loss)
        scale = "logarithms" if is_logarithm else "values"
        return ("labels", scale) if is_one_of_two and not is_logarithm else ("values", scale)
    raise NoAnswerError(f"with loss {loss.type}, what a model puts out is neither classes nor labels nor values")


def _kind_of_own(
    name: str, width: int, target: TargetKind | None, classes: Sequence[str] | None, is_one_of_two: bool
) -> tuple[Literal["classes", "labels", "values"], str]:
    """As `_kind_of`, for a loss of one's own, which may say of its scale what it is."""
    scale = "margins" if takes_margins(name) else "probabilities" if takes_probabilities(name) else "logits"
    if is_one_of_two:
        return "labels", scale
    if target is None or (width == 1 and classes is None):
        return "values", "values"
    if target.is_whole and target.shape == () and width > 1:
        return "classes", scale
    if not target.is_whole and classes is not None and target.shape == (len(classes),) and width == len(classes):
        return "labels", scale
    if target.shape in ((width,), ()) and (width == 1 or target.shape == (width,)):
        return "values", "values"
    raise NoAnswerError(f"nothing says how {width} outputs a sample answer targets of shape {('N', *target.shape)}")


def _names(names: Sequence[str] | None, number: int) -> list[str]:
    return list(names) if names is not None and len(names) == number else [str(i) for i in range(number)]
