"""Steps of an optimizer that asks for the loss several times, as LBFGS does."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer

from base.batch import Batch
from utils.seeding import seed_everything
from utils.torch_internals import backward, clear_gradients

if TYPE_CHECKING:
    from trainer.trainer import Trainer


def needs_closure(optimizer: Optimizer) -> bool:
    """Whether `optimizer.step` needs a function that computes the loss and the gradients anew."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


class Closure:
    """What such an optimizer calls: the loss and the gradients of a step, at the weights of the moment.

    The first time these are the ones that the Trainer has computed, guarded and counted. After that they are computed
    anew, with the random numbers of the step's start each time, so that dropout leaves out the same; nothing of it is
    logged.
    """

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.is_again = False
        self._loss: float | None = None  # the first, until it has been asked for
        self._weight: Tensor | float = 0.0

    def begin(
        self, batches: list[Batch], losses: list[Tensor], weights: list[Tensor | float], correction: Tensor | float
    ) -> None:
        """The batches of a step, what each adds to its first loss, and by what their sum is yet to be multiplied."""
        self._batches = batches
        self._loss = float(sum(losses) * correction)
        self._weight = sum(weights)

    def take_step(self) -> None:
        self.trainer.optimizer.step(self)
        indices = [batch.indices for batch in self._batches]
        self.trainer.loss_guard.take_weights(self.trainer.step, self.trainer.model, indices)

    def __call__(self) -> float:
        if self._loss is not None:
            loss, self._loss = self._loss, None
            return loss
        trainer, loss = self.trainer, 0.0
        clear_gradients(trainer.optimizer)
        seed_everything(trainer.seed, "step", trainer.step)
        self.is_again = True
        try:
            with torch.enable_grad():
                for batch in self._batches:
                    result = trainer.training_loss(batch)
                    weight = batch.num_samples if result.weight is None else result.weight
                    share = result.loss * (weight / (self._weight or 1.0))
                    backward(share)
                    loss += share.item()
        finally:
            self.is_again = False
        return loss
