"""A loss or a gradient that is nan or infinite stops the run before anything of it is kept."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from utils.distributed import anywhere, gathered, num_ranks
from utils.errors import RunError
from utils.torch_internals import any_non_finite, leave_out_step, values_of

LOSS = "the loss"


class NonFiniteLossError(RunError):
    """The loss or a gradient became nan or infinite; it has touched no weight."""


class LossGuard:
    """Raises NonFiniteLossError, naming the step and the samples.

    On a CPU at once, before the loss or a gradient reaches a weight. A GPU would have to be waited for at every step:
    what was found is collected there, and `check` looks at it all, when scores are logged and before an evaluation or a
    checkpoint. A fused optimizer is told on the device, and leaves the weights alone; others go on until then.

    Several processes stop at the same step: a loss that is nan in one makes the gradients of all nan.
    """

    def __init__(self, name_of: Callable[[int], str]):
        self._name_of = name_of
        # Not looked at yet, in their order: the step, its loss or whether a gradient is bad, which of the two, samples.
        self._taken: list[tuple[int, Tensor, str, list[Tensor]]] = []

    def take(self, step: int, loss: Tensor, indices: Tensor, output: Any = None, whose: str = "") -> None:
        """Take the loss of a batch in the step after `step` done ones. whose: as messages name it, such as ` of D`."""
        if not loss.is_cpu or num_ranks() > 1:
            self._taken.append((step, loss.detach(), f"{LOSS}{whose}", [indices]))
        elif not math.isfinite(loss.item()):
            raise self._error(f"{LOSS}{whose} is {loss.item()}", step, suspects(output, indices))

    def take_gradients(self, step: int, optimizer: Optimizer, indices: list[Tensor], whose: str = "") -> None:
        """Take the gradients of all batches of a step, before they are clipped and used."""
        parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
        is_bad = anywhere(any_non_finite(values_of(parameter.grad for parameter in parameters)))
        if not is_bad.is_cpu:
            leave_out_step(optimizer, is_bad)
            self._taken.append((step, is_bad, f"a gradient{whose}", indices))
        elif is_bad.item():
            self.check()
            raise self._error(f"a gradient{whose} is nan or infinite", step, torch.cat(indices).tolist())

    def take_weights(self, step: int, model: nn.Module, indices: list[Tensor]) -> None:
        """Take the weights after the step of an optimizer that has looked at more gradients than the first."""
        is_bad = any_non_finite(values_of(parameter.detach() for parameter in model.parameters()))
        if is_bad.item():  # to search along a line it has waited for the device many times
            raise self._error("a weight has become nan or infinite", step, torch.cat(indices).tolist())

    def check(self) -> None:
        """Look at what was not looked at yet, all in one transfer from the device; with all processes."""
        for place, told in enumerate(gathered(self._what_is_wrong())):
            if told is not None:
                raise NonFiniteLossError(told if num_ranks() == 1 else f"process {place}: {told}")

    def _what_is_wrong(self) -> str | None:
        taken, self._taken = self._taken, []
        numbers = torch.stack([value for _, value, _, _ in taken]).tolist() if taken else []
        for (step, _, what, indices), number in zip(taken, numbers, strict=True):
            is_loss = what.startswith(LOSS)
            if not math.isfinite(number) if is_loss else number:
                told = f"{what} is {number if is_loss else 'nan or infinite'}"
                return str(self._error(told, step, torch.cat(indices).tolist()))
        return None

    def _error(self, what: str, step: int, samples: list[int]) -> NonFiniteLossError:
        names = [self._name_of(i) for i in samples]
        listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
        return NonFiniteLossError(
            f"{what} at step {step + 1}; no checkpoint holds weights that it touched. "
            f"Samples: {listed}. Look at these, lower the learning rate, or set trainer.clip_grad_norm."
        )


def suspects(output: Any, indices: Tensor) -> list[int]:
    """The indices of the samples whose output is not finite; all of the batch where that tells nothing."""
    with contextlib.suppress(TypeError, AttributeError, RuntimeError):
        is_bad = ~torch.isfinite(output.detach().flatten(1)).all(dim=1).cpu()
        if is_bad.any():
            return indices[is_bad].tolist()
    return indices.tolist()
