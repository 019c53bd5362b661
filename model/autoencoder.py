"""Autoencoders of pictures, plain and variational, with their losses and what both are measured by."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base import LOSSES, METRICS, MODELS, BaseModel, Count
from model.own_loss import in_full
from model.pixels import shares_of_white

Outputs = dict[str, Tensor]  # "pictures", (N, in_features) in [0, 1], what went in, and "logits", what comes out; more


@MODELS.register
class Autoencoder(BaseModel):
    """Pictures in [0, 1] -> a code of `latent` numbers -> the same pictures, as logits of each pixel.

    `encoder` and `decoder` do one half each. Its loss is `reconstruction_loss`.
    Source: G. E. Hinton, R. R. Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks" (2006).
    """

    def __init__(self, in_features: Count, hidden: Count = 400, latent: Count = 20):
        super().__init__()
        self.encoder = nn.Sequential(hidden_layer(in_features, hidden), nn.Linear(hidden, latent))
        self.decoder = decoder(latent, hidden, in_features)

    def forward(self, pictures: Tensor) -> Outputs:
        return {"pictures": pictures.flatten(1), "logits": self.decoder(self.encoder(pictures))}


@MODELS.register
class VAE(BaseModel):
    """Pictures in [0, 1] -> what it takes them for: logits of each pixel, and mean and log variance of the latent code.

    In evaluation the code is its mean. `sample(number)` makes new ones. Its loss is `vae_loss`.
    Source: D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes" (2013).
    """

    def __init__(self, in_features: Count, hidden: Count = 400, latent: Count = 20):
        super().__init__()
        self.latent = latent
        self.encoder = hidden_layer(in_features, hidden)
        self.moments = nn.Linear(hidden, 2 * latent)
        self.decoder = decoder(latent, hidden, in_features)

    def forward(self, pictures: Tensor) -> Outputs:
        mean, log_variance = self.moments(self.encoder(pictures)).chunk(2, dim=1)
        noise = torch.randn_like(mean) if self.training else 0
        logits = self.decoder(mean + noise * (log_variance / 2).exp())
        return {"pictures": pictures.flatten(1), "logits": logits, "mean": mean, "log_variance": log_variance}

    def sample(self, number: int) -> Tensor:
        """New pictures, (number, in_features) in [0, 1], from codes drawn from N(0, 1)."""
        codes = torch.randn(number, self.latent, device=self.moments.weight.device)
        return self.decoder(codes).sigmoid()


def hidden_layer(in_features: int, hidden: int) -> nn.Sequential:
    """(N, C, H, W) -> (N, hidden)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(in_features, hidden), nn.ReLU())


def decoder(latent: int, hidden: int, in_features: int) -> nn.Sequential:
    """(N, latent) -> (N, in_features)."""
    return nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, in_features))


@LOSSES.register
def reconstruction_loss(output: Outputs, target: object) -> Tensor:
    """Cross entropy of the pixels, which are shares of white, in nats a picture; the target of the data is not used."""
    return _entropy(output).mean()


@LOSSES.register
def vae_loss(output: Outputs, target: object, beta: float = 1.0) -> dict[str, Tensor]:
    """The bound of Kingma and Welling in nats a picture: cross entropy of its pixels, and beta times the KL divergence.

    Of the mean code, as in evaluation, it is less than of codes that are drawn, as in training and in papers.
    beta: I. Higgins et al., "beta-VAE" (2017).
    """
    mean, log_variance = in_full(output["mean"]), in_full(output["log_variance"])  # in bf16, exp(x) - x - 1 is mostly 0
    kl = (mean.square() + log_variance.exp() - log_variance - 1) / 2
    return {"reconstruction": _entropy(output).mean(), "kl": beta * kl.sum(dim=1).mean()}


def _entropy(output: Outputs) -> Tensor:
    """Of each picture, (N,)."""
    pictures = shares_of_white(output["pictures"])  # of others the entropy could be made small without end
    return F.binary_cross_entropy_with_logits(output["logits"], pictures, reduction="none").sum(dim=1)


@METRICS.register
def pixel_error(output: Outputs, target: object) -> Tensor:
    """Mean of |what comes out - what went in| over the pixels of a picture, (N,)."""
    return (output["logits"].sigmoid() - output["pictures"]).abs().mean(dim=1)


@METRICS.register
def squared_pixel_error(output: Outputs, target: object) -> Tensor:
    """Mean of (what comes out - what went in) ** 2 over the pixels of a picture, (N,)."""
    return (output["logits"].sigmoid() - output["pictures"]).square().mean(dim=1)
