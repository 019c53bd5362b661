"""One supervised step: what happens between a batch and the new weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from base import TRAINERS
from base.base_trainer import BaseTrainer
from base.batch import Batch, Forward, Loader
from trainer.closure import Closure, needs_closure
from trainer.ema import EMA
from trainer.evaluation import evaluate
from trainer.forward import ForwardPass
from trainer.freezing import set_training_mode
from trainer.gradient_norms import log_gradient_norms
from trainer.loggers import check_pictures
from trainer.loss_guard import LossGuard
from trainer.lr_schedule import LRSchedule
from trainer.optimizers import LRSchedules, Optimizers, learning_rates
from trainer.own_steps import OwnSteps, share_overflow, weights_of
from trainer.parallel import Parallel
from utils.torch_internals import clear_gradients, take_step


@TRAINERS.register
class Trainer(BaseTrainer):
    """Minimises loss_fn(model(inputs), target).

    To train otherwise, subclass it, register the subclass, and override `training_loss`, or else `update_weights`,
    `train_step` or `evaluate`; what else must survive an interruption goes into `self.parts`.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Optimizer | Optimizers,
        lr_schedule: LRSchedule | LRSchedules,
        forward_pass: ForwardPass,
        ema: EMA | None = None,
        **loop: Any,
    ):
        super().__init__(**loop)
        settings, device = self.settings, forward_pass.device
        self.model = model
        self.optimizers = optimizer if isinstance(optimizer, Optimizers) else {"optimizer": optimizer}
        self.optimizer = next(iter(self.optimizers.values()))  # the only one, or the first
        self.lr_schedule = lr_schedule
        self.forward_pass = forward_pass
        self.scaler = GradScaler(device.type, enabled=settings.precision == "fp16")
        self.ema = ema
        self.loss_guard = LossGuard(self.train_loader.name_of)
        self.own_steps = OwnSteps(self)
        self.closure = Closure(self) if needs_closure(self.optimizer) else None
        self.parallel = Parallel(self, has_own_loss=type(self).training_loss is not Trainer.training_loss)
        self.parts |= {
            "model": model,
            "optimizer": optimizer,
            "lr_scheduler": lr_schedule,
            "scaler": self.scaler,
            **({"ema": self.ema} if self.ema else {}),
            **({"loss_state": forward_pass.loss_fn} if forward_pass.loss_fn.state_dict() else {}),
        }
        if settings.compile:
            forward_pass.compile(settings.compile, self.train_loader.dataset)
        set_training_mode(model)

    def training_loss(self, batch: Batch) -> Forward:
        """What a batch is trained by: a loss, and what metrics see. Override this alone to train by another loss.

        Within it there are `step_with`, `log` and `log_pictures`.
        """
        return self.forward_pass(self.parallel.called, batch, training=True)

    def train_step(self, batches: list[Batch]) -> None:
        """Accumulate the gradients of all batches, each by its weight in the mean, then update once."""
        own_steps, losses, weights = self.own_steps, [], []
        is_whole = len(batches) == 1 and self.parallel.is_alone  # else this is a part of a mean
        own_steps.begin(batches)
        for own_steps.place, batch in enumerate(batches):
            with self.parallel.accumulating(is_last=own_steps.place == len(batches) - 1):
                result = own_steps.checked(self.training_loss(batch))
                self.loss_guard.take(self.step, result.loss, batch.indices, result.output)
                if self.step == 0 and not weights and self.journal:
                    self.journal.loggers.log_inputs(self.step, result.inputs)
                self.train_sums.update(result, batch)
                weights.append(weight_of(result, batch))
                loss = result.loss if is_whole else result.loss * own_steps.share_of(weights[-1])
                own_steps.backward(self.scaler.scale(loss))
            if self.closure:
                losses.append(loss.detach())
        own_steps.end()
        correction = 1.0
        if result.weight is not None and not is_whole:  # what all of them weigh is known only now
            correction = own_steps.correct(sum(weights), self.model.parameters())
        if self.closure:
            self.closure.begin(batches, losses, weights, correction)
        if not self.scaler.is_enabled():  # which leaves out a step whose gradients overflow
            for name, optimizer in own_steps.left.items():
                whose = f" of {name}" if len(self.optimizers) > 1 else ""
                self.loss_guard.take_gradients(self.step, optimizer, [batch.indices for batch in batches], whose)
        self.update_weights()

    def update_weights(self) -> None:
        """Let the optimizers act on the gradients of the step, and with it all that follows their steps."""
        if self.own_steps.left:
            self.act(self.own_steps.left)
        if self.scaler.is_enabled():
            self.scaler.update()
        if self.ema:
            self.ema.update(self.model)

    def act(self, optimizers: Mapping[str, Optimizer]) -> None:
        """Let optimizers take their step: learning rates, clipping, new weights."""
        settings = self.settings
        self.lr_schedule.before_step(self.step)
        if self.scaler.is_enabled() and len(optimizers) > 1:
            share_overflow(optimizers)
        if settings.clip_grad_norm or settings.clip_grad_value or settings.log_grad_norm:
            weights = weights_of(optimizers) if len(optimizers) < len(self.optimizers) else [*self.model.parameters()]
            for optimizer in optimizers.values():
                self.scaler.unscale_(optimizer)
            if settings.log_grad_norm:
                log_gradient_norms(self, optimizers)
            if settings.clip_grad_norm:
                nn.utils.clip_grad_norm_(weights, settings.clip_grad_norm)
            if settings.clip_grad_value:
                nn.utils.clip_grad_value_(weights, settings.clip_grad_value)
        for optimizer in optimizers.values():
            if self.scaler.is_enabled():
                self.scaler.step(optimizer)
            elif self.closure:
                self.closure.take_step()
            else:
                take_step(optimizer)
            clear_gradients(optimizer)

    def step_with(self, loss: Tensor, optimizer: str | Optimizer, weight: Tensor | float | None = None) -> None:
        """In training_loss: have one optimizer minimise a loss of its own, with all that a step has around it.

        weight: what the loss is a mean over, as `result.weight`; None: over samples.

        No other weight gets a gradient. Where batches are accumulated, it acts after the last. The optimizers that are
        not stepped with so go by the loss that training_loss returns; `detach()` it where it is only to be reported.
        """
        self.own_steps.step_with(loss, optimizer, weight)

    def log(self, name: str, value: Tensor | float) -> None:
        """In training_loss: log a mean over the batch under way, a number or a tensor of one, like any other score."""
        if not (self.closure and self.closure.is_again):
            self.train_sums.named.log(name, value, self.own_steps.num_samples)

    def log_pictures(self, name: str, pictures: Tensor) -> None:
        """In training_loss: show pictures (N, 1 or 3, H, W), the first 16, at once; a GPU is waited for."""
        check_pictures(name, pictures)
        if self.journal and not (self.closure and self.closure.is_again):
            self.journal.loggers.log_pictures(self.step + 1, name, pictures)

    def evaluate(self, loader: Loader) -> dict[str, float] | None:
        """Loss and metrics over all of a loader, with the averaged weights where there are any."""
        model, self.own_steps.batches = self.ema.model if self.ema else self.model, []
        self.parallel.share_buffers(model)
        should_stop = self.stopping.is_asked_for
        scores = evaluate(self.forward_pass, model, loader.batches(), self.valid_sums, self.seed, None, should_stop)
        set_training_mode(self.model)
        return scores

    def after_evaluation(self, scores: dict[str, float]) -> None:
        if self.lr_schedule.is_plateau:
            self.lr_schedule.after_evaluation(scores[self.settings.monitor.metric])

    def check_steps(self) -> None:
        self.loss_guard.check()
        self.train_loader.tell_skipped()
        self.parallel.check_alike(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(self.parallel.loaded(self, state))

    def learning_rates(self) -> dict[str, float]:
        return learning_rates(self.optimizers)


def weight_of(result: Forward, batch: Batch) -> Tensor | float:
    """What the loss of a batch is a mean over: its samples, or what the loss says."""
    return result.weight if result.weight is not None and batch.counts else batch.num_samples
