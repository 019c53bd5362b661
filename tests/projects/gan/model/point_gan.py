import torch
import torch.nn.functional as F
from torch import nn

from base import LOSSES, METRICS, MODELS, BaseModel


@MODELS.register
class PointGAN(BaseModel):
    """How real given points and as many made ones look: logits (N, 1); the made ones themselves (N, 2)."""

    def __init__(self, latent: int = 2, hidden: int = 24):
        super().__init__()
        self.latent = latent
        self.generator = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, 2))
        self.discriminator = nn.Sequential(nn.Linear(2, hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, 1))

    def forward(self, points):
        made = self.made(points)
        return {"real": self.discriminator(points), "fake": self.discriminator(made.detach()), "made": made.detach()}

    def made(self, points):
        return self.generator(torch.randn(len(points), self.latent, device=points.device))


@LOSSES.register
def discriminator_loss(output, target):
    return {"real": F.softplus(-output["real"]).mean(), "fake": F.softplus(output["fake"]).mean()}


@METRICS.register
def distance(output, target):
    """How far made points lie from where the real ones are, (N,)."""
    return (output["made"] - torch.tensor([2.0, -1.0], device=output["made"].device)).norm(dim=1)
