import torch
from torch import nn

from base import TRAINERS
from trainer.trainer import Trainer


@TRAINERS.register
class MemoryTrainer(Trainer):
    """Holds predictions to what they were on average, by sample: Liu et al., Early-learning regularization, 2020."""

    def __init__(self, momentum: float = 0.7, strength: float = 3.0, **parts):
        super().__init__(**parts)
        self.momentum, self.strength = momentum, strength
        self.memory = nn.Module()
        num_samples, num_classes = len(self.train_loader.dataset), len(self.train_loader.classes)
        self.memory.register_buffer("averages", torch.zeros(num_samples, num_classes, device=self.forward_pass.device))
        self.parts["memory"] = self.memory

    def training_loss(self, batch):
        result = self.forward_pass(self.model, batch, training=True)
        indices, probabilities = batch.indices.to(result.loss.device), result.output.softmax(dim=1)
        with torch.no_grad():
            self.memory.averages[indices] *= self.momentum
            self.memory.averages[indices] += (1 - self.momentum) * probabilities
        agreement = (self.memory.averages[indices] * probabilities).sum(dim=1)
        penalty = (1 - agreement).log().mean()
        self.log("penalty", penalty)
        return result._replace(loss=result.loss + self.strength * penalty)
