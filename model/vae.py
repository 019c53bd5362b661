"""A variational autoencoder, and its loss."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base import LOSSES, METRICS, MODELS, BaseModel, Count
from utils.errors import UserError

Moments = dict[str, Tensor]


@MODELS.register
class VAE(BaseModel):
    """Pictures in [0, 1] -> what it takes them for: logits of each pixel, and mean and log variance of the latent code.

    In evaluation the code is its mean, so that the same picture always comes to the same. `sample(number)` makes new
    ones.
    Source: D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes" (2013).
    """

    def __init__(self, in_features: Count, hidden: Count = 400, latent: Count = 20):
        super().__init__()
        self.latent = latent
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(in_features, hidden), nn.ReLU())
        self.moments = nn.Linear(hidden, 2 * latent)
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, in_features))

    def forward(self, pictures: Tensor) -> Moments:
        mean, log_variance = self.moments(self.encoder(pictures)).chunk(2, dim=1)
        noise = torch.randn_like(mean) if self.training else 0
        logits = self.decoder(mean + noise * (log_variance / 2).exp())
        return {"pictures": pictures.flatten(1), "logits": logits, "mean": mean, "log_variance": log_variance}

    def sample(self, number: int) -> Tensor:
        """New pictures, (number, in_features) in [0, 1], from codes drawn from N(0, 1)."""
        codes = torch.randn(number, self.latent, device=self.moments.weight.device)
        return self.decoder(codes).sigmoid()


@LOSSES.register
def vae_loss(output: Moments, target: object, beta: float = 1.0, training: bool = False) -> dict[str, Tensor]:
    """The bound of Kingma and Welling in nats a picture: cross entropy of its pixels, and beta times the KL divergence.

    Of the mean code, as in evaluation, it is less than of codes that are drawn, as in training and in papers.
    beta: I. Higgins et al., "beta-VAE" (2017). UserError, in evaluation, for pictures that are not in [0, 1].
    """
    if not training:  # where to look at values costs little
        _check_range(output["pictures"])
    entropy = F.binary_cross_entropy_with_logits(output["logits"], output["pictures"], reduction="none")
    mean, log_variance = output["mean"], output["log_variance"]
    kl = (mean.square() + log_variance.exp() - log_variance - 1) / 2
    return {"reconstruction": entropy.sum(dim=1).mean(), "kl": beta * kl.sum(dim=1).mean()}


def _check_range(pictures: Tensor) -> None:
    low, high = pictures.aminmax()
    if not ((low >= 0) & (high <= 1)):
        raise UserError(
            f"loss vae_loss: the pictures reach from {low:.3g} to {high:.3g}, and it takes each pixel for a share: the "
            "loss would have no lower bound. Expected 0 to 1: leave out Normalize (dataset.batch_transforms)"
        )


@METRICS.register
def pixel_error(output: Moments, target: object) -> Tensor:
    """Mean of |what comes out - what went in| over the pixels of a picture, (N,)."""
    return (output["logits"].sigmoid() - output["pictures"]).abs().mean(dim=1)
