"""Two networks trained against each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from base import TRAINERS
from base.batch import Batch, Forward
from trainer.trainer import Trainer


@TRAINERS.register
class AdversarialTrainer(Trainer):
    """In each step the discriminator learns by the loss of the config, then the generator to deceive it.

    The model has both as `generator` and `discriminator`, each with an optimizer of its name, and `sample(number)`, by
    which the generator makes pictures. Its loss is logged as `generator_loss`, and 16 pictures before each evaluation.
    Source: I. Goodfellow et al., "Generative Adversarial Networks" (2014), with the loss that does not saturate.
    """

    def training_loss(self, batch: Batch) -> Forward:
        result = self.forward_pass(self.model, batch, training=True)
        self.step_with(result.loss, "discriminator")
        with self.forward_pass.autocast():
            realness = self.model.discriminator(self.model.sample(len(batch.indices)))
        generator_loss = F.softplus(-realness.float()).mean()
        self.step_with(generator_loss, "generator")
        self.log("generator_loss", generator_loss)
        return result

    def update_weights(self) -> None:
        super().update_weights()
        if self.plan.is_due(self.settings.eval_every, self.step + 1):  # nothing is drawn after it in this step
            with torch.no_grad():
                self.log_pictures("made", (self.ema.model if self.ema else self.model).sample(16))
