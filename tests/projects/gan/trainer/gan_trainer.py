import torch.nn.functional as F

from base import TRAINERS
from trainer.trainer import Trainer


@TRAINERS.register
class PointGANTrainer(Trainer):
    """The discriminator learns by the config's loss, then the generator to deceive it."""

    def training_loss(self, batch):
        result = self.forward_pass(self.model, batch, training=True)
        self.step_with(result.loss, "discriminator")
        with self.forward_pass.autocast():
            made = self.model.made(*result.inputs.args)
            loss = F.softplus(-self.model.discriminator(made)).mean()
        self.step_with(loss, "generator")
        self.log("generator_loss", loss)
        return result
