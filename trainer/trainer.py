"""One supervised step: what happens between a batch and the new weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from base import TRAINERS
from base.base_trainer import BaseTrainer
from base.batch import Batch, Loader
from trainer.ema import EMA
from trainer.evaluation import evaluate
from trainer.forward import ForwardPass
from trainer.loss_guard import LossGuard
from trainer.lr_schedule import LRSchedule
from trainer.optimizer import set_training_mode
from utils.torch_internals import backward, clear_gradients, take_step


@TRAINERS.register
class Trainer(BaseTrainer):
    """Minimises loss_fn(model(inputs), target).

    To train otherwise, subclass it, register the subclass, and override `train_step` or `evaluate`; what else must
    survive an interruption goes into `self.parts`.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        optimizer: Optimizer,
        lr_schedule: LRSchedule,
        forward_pass: ForwardPass,
        **loop: Any,
    ):
        super().__init__(**loop)
        settings, device = self.settings, forward_pass.device
        self.model = model
        self.optimizer = optimizer
        self.lr_schedule = lr_schedule
        self.forward_pass = forward_pass
        self.scaler = GradScaler(device.type, enabled=settings.precision == "fp16")
        self.ema = EMA(model, settings.ema_decay) if settings.ema_decay else None
        self.loss_guard = LossGuard(self.train_loader.name_of)
        self.parts |= {
            "model": model,
            "optimizer": optimizer,
            "lr_scheduler": lr_schedule,
            "scaler": self.scaler,
            **({"ema": self.ema} if self.ema else {}),
        }
        if settings.compile:
            forward_pass.compile(settings.compile)
        set_training_mode(model)

    def train_step(self, batches: list[Batch]) -> None:
        """Accumulate the gradients of all batches, each by its weight in the mean, then update once."""
        weights = []
        for batch in batches:
            result = self.forward_pass(self.model, batch.data, training=True)
            self.loss_guard.take(self.step, result, batch.indices)
            if self.step == 0 and not weights and self.journal:
                self.journal.log_pictures(self.step, result.inputs)
            self.train_sums.update(result, len(batch.indices))
            weights.append(len(batch.indices) if result.weight is None else result.weight)
            expected = not_zero(weights[0]) * len(batches)  # the sum of all weights, known only in the end
            backward(self.scaler.scale(result.loss if len(batches) == 1 else result.loss * (weights[-1] / expected)))
        if len(batches) > 1:
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(expected / not_zero(sum(weights)))
        if not self.scaler.is_enabled():  # which leaves out a step whose gradients overflow
            self.loss_guard.take_gradients(self.step, self.optimizer, [batch.indices for batch in batches])
        self.update_weights()

    def update_weights(self) -> None:
        """Let the optimizer act on the gradients, and with it all that follows its steps."""
        settings = self.settings
        self.lr_schedule.before_step(self.step)
        if settings.clip_grad_norm or settings.clip_grad_value:
            self.scaler.unscale_(self.optimizer)
        if settings.clip_grad_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_grad_norm)
        if settings.clip_grad_value:
            nn.utils.clip_grad_value_(self.model.parameters(), settings.clip_grad_value)
        if self.scaler.is_enabled():
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            take_step(self.optimizer)
        clear_gradients(self.optimizer)
        if self.ema:
            self.ema.update(self.model)

    def evaluate(self, loader: Loader) -> dict[str, float] | None:
        """Loss and metrics over all of a loader, with the averaged weights where there are any."""
        model = self.ema.model if self.ema else self.model
        scores = evaluate(
            self.forward_pass, model, loader.batches(), self.valid_sums, self.seed, should_stop=lambda: self.stop_reason
        )
        set_training_mode(self.model)
        return scores

    def after_evaluation(self, scores: dict[str, float]) -> None:
        if self.lr_schedule.is_plateau:
            self.lr_schedule.after_evaluation(scores[self.settings.monitor.metric])

    def check_steps(self) -> None:
        self.loss_guard.check()

    def learning_rates(self) -> list[float]:
        return [float(group["lr"]) for group in self.optimizer.param_groups]


def not_zero(weight: Tensor | float) -> Tensor | float:
    """1 in place of 0, the weight of a batch in which nothing counts: its loss is 0 too."""
    return weight + (weight == 0)
