"""A loss that is nan or infinite stops the run before anything of it is kept."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trainer.forward import Forward
from utils.errors import RunError


class NonFiniteLossError(RunError):
    """The loss became nan or infinite; no checkpoint holds weights that it touched."""


class LossGuard:
    """Raises NonFiniteLossError, naming the step and the samples.

    On a CPU at once, before the loss reaches a weight. A GPU would have to be waited for at every step; its losses are
    collected, and `check` looks at them all: when scores are logged, and before an evaluation or a checkpoint. The
    weights in memory may be spoilt by then; those on the disk never are.
    """

    def __init__(self, name_of: Callable[[int], str]):
        self._name_of = name_of
        self._unseen: list[tuple[int, Tensor, Tensor]] = []  # step, loss, indices

    def take(self, step: int, result: Forward, indices: Tensor) -> None:
        """Take the loss of a batch in the step after `step` done ones."""
        if result.loss.device.type != "cpu":
            self._unseen.append((step, result.loss.detach(), indices))
        elif not math.isfinite(result.loss.item()):
            raise self._error(step, result.loss, indices, result.output)

    def check(self) -> None:
        """Look at the losses that were not looked at yet."""
        unseen, self._unseen = self._unseen, []
        if not unseen or torch.stack([loss for _, loss, _ in unseen]).isfinite().all():
            return
        raise self._error(*next(taken for taken in unseen if not math.isfinite(taken[1].item())))

    def _error(self, step: int, loss: Tensor, indices: Tensor, output: Any = None) -> NonFiniteLossError:
        names = [self._name_of(i) for i in suspects(output, indices)]
        listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        return NonFiniteLossError(
            f"the loss is {loss.item()} at step {step + 1}; no checkpoint holds weights that it touched. "
            f"Samples: {listed}. Look at these, lower the learning rate, or set trainer.clip_grad_norm."
        )


def suspects(output: Any, indices: Tensor) -> list[int]:
    """The indices of the samples whose output is not finite; all of the batch where that tells nothing."""
    with contextlib.suppress(TypeError, AttributeError, RuntimeError):
        is_bad = ~torch.isfinite(output.detach().flatten(1)).all(dim=1).cpu()
        if is_bad.any():
            return indices[is_bad].tolist()
    return indices.tolist()
