"""A training step of your own."""

from base import TRAINERS
from base.batch import Batch, Forward
from trainer.trainer import Trainer


@TRAINERS.register
class MyTrainer(Trainer):
    """Adds a penalty on large outputs to the loss, and logs it."""

    def __init__(self, penalty: float = 0.001, **parts):
        super().__init__(**parts)
        self.penalty = penalty

    def training_loss(self, batch: Batch) -> Forward:
        result = super().training_loss(batch)  # inputs, output, target, loss
        penalty = result.output.square().mean()
        self.log("penalty", penalty)
        return result._replace(loss=result.loss + self.penalty * penalty)
