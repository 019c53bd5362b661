import torch
import torch.nn.functional as F
from torch import nn

from base import LOSSES, METRICS, MODELS, BaseModel


@MODELS.register
class VAE(BaseModel):
    """A variational autoencoder of pictures in [0, 1]."""

    def __init__(self, in_features: int, hidden: int = 64, latent: int = 8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(in_features, hidden), nn.ReLU())
        self.moments = nn.Linear(hidden, 2 * latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, in_features))

    def forward(self, pictures):
        mean, log_variance = self.moments(self.encoder(pictures)).chunk(2, dim=1)
        noise = torch.randn_like(mean) if self.training else 0
        logits = self.decoder(mean + noise * (log_variance / 2).exp())
        return {"pictures": pictures.flatten(1), "logits": logits, "mean": mean, "log_variance": log_variance}


@LOSSES.register
def vae_loss(output, target, beta: float = 1.0):
    """The two terms of the bound of Kingma and Welling, 2013, in nats a picture."""
    entropy = F.binary_cross_entropy_with_logits(output["logits"], output["pictures"], reduction="none")
    mean, log_variance = output["mean"], output["log_variance"]
    kl = (mean.square() + log_variance.exp() - log_variance - 1) / 2
    return {"reconstruction": entropy.sum(dim=1).mean(), "kl": beta * kl.sum(dim=1).mean()}


@METRICS.register
def pixel_error(output, target):
    return (output["logits"].sigmoid() - output["pictures"]).abs().mean(dim=1)  # (N, pixels) -> (N,)
