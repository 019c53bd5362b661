"""What `Trainer.step_with` does: a step of one optimizer within `training_loss`, with all that a step has around it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from math import nan
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer

from base.batch import Batch, Forward
from config.problems import did_you_mean
from utils.distributed import num_ranks
from utils.errors import UserError
from utils.seeding import seed_everything
from utils.torch_internals import any_non_finite, backward, values_of

if TYPE_CHECKING:
    from trainer.trainer import Trainer


logger = logging.getLogger(__name__)


class OwnSteps:
    """Follows a step of the Trainer: its batches, which of them is under way, and which optimizers have their own loss.

    What is left gets its gradients from the loss that `training_loss` returns.
    """

    def __init__(self, trainer: Trainer):
        self.trainer = trainer
        self.batches: list[Batch] = []
        self.place: int | None = None  # of the batch under way; None before and after all of them
        self.times: dict[str, int] = {}  # calls in this step, by optimizer
        self.weights: dict[str, Tensor | float] = {}  # of the losses since its last step, by optimizer
        self.knows_weights = False  # whether one was given, or it was told that none was
        self.has_shares = self.has_corrected = False  # whether these two were asked for at all
        self.had_own: set[str] | None = set()  # optimizers with a loss of their own in a step before; None: it was told
        self.left: Mapping[str, Optimizer] = trainer.optimizers  # for `update_weights`

    def begin(self, batches: list[Batch]) -> None:
        """No batch has been yet."""
        self.batches, self.times, self.weights = batches, {}, {}
        self.trainer.parallel.begin()

    def checked(self, result: Forward) -> Forward:
        """What training_loss returned. UserError where it is a loss alone, or nothing."""
        if not isinstance(result, Forward):
            told = f"training_loss of {type(self.trainer).__name__} returned a {type(result).__name__}"
            raise UserError(f"{told}; return what forward_pass gives, with another loss: result._replace(loss=loss)")
        is_told_of = self.knows_weights or not self.trainer.journal  # a rehearsal tells nothing
        if self.times and self.is_part and result.weight is not None and not is_told_of:
            self.knows_weights = True
            logger.warning(
                "step_with takes each loss for a mean over samples, but %s is one over weights: where it is that loss, "
                "call step_with(loss, optimizer, weight=result.weight)",
                self.trainer.forward_pass.loss_fn.name,
            )
        return result

    @property
    def is_part(self) -> bool:
        """Whether a batch is a part of the mean that a step goes by: others are accumulated, or other processes'."""
        return len(self.batches) > 1 or not self.trainer.parallel.is_alone

    @property
    def batch(self) -> Batch:
        """The one under way."""
        if self.place is None:
            raise RuntimeError("step_with is for training_loss, and no batch is under way")
        return self.batches[self.place]

    @property
    def num_samples(self) -> int:
        """Of the batch under way; after all of them, as in `update_weights`, of the whole step."""
        if not self.batches:
            raise RuntimeError("log is for training_loss: in an evaluation nothing would come of it")
        return sum(each.num_samples for each in (self.batches if self.place is None else [self.batch]))

    def share_of(self, weight: Tensor | float) -> Tensor | float:
        """The share of a batch in a step: its gradients are added up over batches, and averaged over processes."""
        self.has_shares = True
        return weight * num_ranks() / not_zero(self.trainer.num_samples)

    def correct(self, weight: Tensor | float, weights: Iterable[Tensor]) -> Tensor | float:
        """Make gradients those of the mean over what the losses of all batches weigh, which is known only after them.

        Returns what they were multiplied by.
        """
        self.has_corrected = True
        correction = self.trainer.num_samples / not_zero(self.trainer.parallel.total(weight))
        for gradient in values_of(each.grad for each in weights):
            gradient.mul_(correction)
        return correction

    def check(self) -> None:
        """UserError where a `train_step` of the trainer's own takes the shares of all processes for equal."""
        trainer, sums = self.trainer, self.trainer.train_sums
        if not trainer.num_samples:  # there was no step yet
            return
        if not self.has_shares:
            raise UserError(
                f"train_step of {type(trainer).__name__}: the shares of processes may differ in size: multiply the "
                "loss of each batch by self.own_steps.share_of(batch.num_samples), and after the backward pass call "
                "self.parallel.reduce(self.model.parameters())"
            )
        if trainer.journal and not self.has_corrected and float(sums.loss.weight) != sums.num_samples:
            self.has_corrected = True  # it is told once
            told = "train_step of %s takes %s for a mean over samples, but it is one over weights: docs/distributed.md"
            logger.warning(told, type(trainer).__name__, trainer.forward_pass.loss_fn.name)

    def step_with(self, loss: Tensor, optimizer: str | Optimizer, weight: Tensor | float | None) -> None:
        trainer, name = self.trainer, self._name_of(optimizer)
        if trainer.closure is not None:
            raise UserError(
                "step_with: an optimizer that asks for the loss itself, as LBFGS does, has but the one loss"
            )
        if not isinstance(loss, Tensor) or loss.ndim:
            what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise UserError(f"step_with got {what} for {name}; it takes a loss as a tensor ()")
        batch, optimizer = self.batch, trainer.optimizers[name]
        trainer.loss_guard.take(trainer.step, loss, batch.indices, whose=f" of {name}")
        self._count(name)
        has_weight = weight is not None
        self.knows_weights |= has_weight
        weight = weight if has_weight and batch.counts else batch.num_samples
        self.weights[name] = self.weights.get(name, 0) + weight
        if self.is_part:
            loss = loss * self.share_of(weight)
        if self.times[name] > 1 and len(self.batches) == 1:
            trainer.scaler.update()  # without which it takes a second step of the same optimizer for a mistake
        weights = weights_of({name: optimizer})
        if not weights:
            raise UserError(f"step_with: all weights of {name} have requires_grad off, and nothing is left to train")
        backward(trainer.scaler.scale(loss), weights)
        if self.place == len(self.batches) - 1:
            trainer.parallel.reduce(weights, (name,))
            total = self.weights.pop(name)
            if has_weight and self.is_part:
                self.correct(total, weights)
        if all(weight.grad is None for weight in weights):
            raise UserError(f"step_with: the loss for {name} depends on none of its weights; was an output detached?")
        if self.place == len(self.batches) - 1:
            if not trainer.scaler.is_enabled():
                indices = [each.indices for each in self.batches]
                trainer.loss_guard.take_gradients(trainer.step, optimizer, indices, whose=f" of {name}")
            trainer.act({name: optimizer})
            torch.clear_autocast_cache()  # within autocast, what comes next would go by the weights before

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of the returned loss to the weights of the optimizers that are left.

        Where there was a step already, a loss without a graph (`detach()`) is only reported.
        """
        if not self.times:
            backward(loss)
        elif (weights := weights_of(self._left())) and loss.requires_grad:  # of none, torch would take all
            backward(loss, weights)

    def end(self) -> None:
        """All batches have been: what is left are the optimizers that the returned loss has given gradients."""
        self.place, self.left = None, self.trainer.optimizers
        parallel = self.trainer.parallel
        if not parallel.is_alone:
            parallel.reduce(weights_of(self._left()), tuple(self._left()))
            if not parallel.is_sharded:  # what is drawn from here on goes into weights that all have alike
                seed_everything(self.trainer.seed, "update", self.trainer.step)
        if self.times or len(self.left) > 1:
            self.left = self._with_gradients()
        if self.had_own is not None:
            self._warn_of_another_loss(self.had_own)

    def _warn_of_another_loss(self, had_own: set[str]) -> None:
        """An optimizer that was meant to rest in this step may go by the loss of its opponent."""
        if names := sorted(had_own & self.left.keys()):
            logger.warning(
                "step %d: training_loss does not call step_with for %s, as it did before, which now goes by the "
                "returned loss; to let it rest, call step_with for the others, and return the loss detach()ed",
                *(self.trainer.step + 1, " and ".join(names)),
            )
        self.had_own = None if names else had_own | self.times.keys()

    def _with_gradients(self) -> dict[str, Optimizer]:
        if len(self.batches) > 1 and (late := [name for name in self.times if self.times[name] < len(self.batches)]):
            raise self._uneven(late[0])
        return {
            name: optimizer
            for name, optimizer in self._left().items()
            if any(weight.grad is not None for weight in weights_of({name: optimizer}))
        }

    def _left(self) -> dict[str, Optimizer]:
        return {name: each for name, each in self.trainer.optimizers.items() if name not in self.times}

    def _count(self, name: str) -> None:
        """A batch that is accumulated adds its gradients once."""
        self.times[name] = self.times.get(name, 0) + 1
        if self.trainer.plan.accumulate_steps > 1 and self.times[name] != self.place + 1:
            raise self._uneven(name)

    def _uneven(self, name: str) -> UserError:
        return UserError(
            f"trainer.accumulate_steps: found {self.trainer.plan.accumulate_steps}, but training_loss does not call "
            f"step_with for {name} once for each batch; set it to 1, or call it so"
        )

    def _name_of(self, optimizer: str | Optimizer) -> str:
        optimizers = self.trainer.optimizers
        if isinstance(optimizer, Optimizer):
            name = next((name for name, each in optimizers.items() if each is optimizer), type(optimizer).__name__)
        else:
            name = optimizer
        if name not in optimizers:
            raise UserError(
                f"step_with: found the optimizer {name!r}; those of this run are: {', '.join(optimizers)}"
                f"{did_you_mean(name, optimizers)}; further ones are named in the config: "
                "optimizer: {NAME: {type: TYPE, params: GLOB}, ...}"
            )
        return name


def weights_of(optimizers: Mapping[str, Optimizer]) -> tuple[Tensor, ...]:
    """The weights of these optimizers that are not frozen."""
    groups = (group for optimizer in optimizers.values() for group in optimizer.param_groups)
    return tuple(weight for group in groups for weight in group["params"] if weight.requires_grad)


def not_zero(weight: Tensor | float) -> Tensor | float:
    """1 in place of 0, the weight of a batch in which nothing counts: its loss is 0 too."""
    return weight + (weight == 0)


def share_overflow(optimizers: Mapping[str, Optimizer]) -> None:
    """Let scaled gradients that overflow in one of several optimizers count in all: one loss is one step, or none.

    Clipped together, they would make the gradients of the others nan after the scaler has found these finite.
    """
    weights = [weights_of({name: optimizer}) for name, optimizer in optimizers.items()]
    gradients = [[weight.grad for weight in its if weight.grad is not None] for its in weights]
    is_bad = any_non_finite(values_of(grad for its in gradients for grad in its))
    one_or_nan = torch.ones_like(is_bad).masked_fill(is_bad != 0, nan)
    for its in gradients:
        if its:
            its[0].mul_(one_or_nan)
