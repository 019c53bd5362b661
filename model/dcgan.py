"""A generative adversarial network of pictures, its loss, and a measure of what it makes."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from base import LOSSES, METRICS, MODELS, BaseModel, Count
from model.own_loss import in_full
from model.pixels import shares_of_white
from utils.errors import UserError

NUM_GROUPS = 8  # of channels that are normalised together
Outputs = dict[str, Tensor]  # "real" and "made", logits (N, 1); "pictures" and "made_pictures", (N, C, H, W)


@MODELS.register
class DCGAN(BaseModel):
    """Pictures in [0, 1] -> how real they look, and how real as many made ones; train it by `AdversarialTrainer`.

    size: height and width of the pictures, a multiple of 4. `sample(number)` makes new ones.
    Source: A. Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
    Networks" (2015). Its batch normalisation is group normalisation here (Y. Wu, K. He, 2018): a picture does not
    depend on those made with it, and averaged weights (`trainer.ema_decay`) fit statistics that none has to keep.
    """

    def __init__(
        self,
        in_channels: Count,
        size: Annotated[int, Field(gt=0, multiple_of=4)] = 28,
        width: Annotated[int, Field(gt=0, multiple_of=4)] = 16,
        latent: Count = 64,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3,
    ):
        super().__init__()
        self.size, self.latent = size, latent
        quarter = size // 4
        self.generator = nn.Sequential(
            *(nn.Linear(latent, 4 * width * quarter**2), nn.Unflatten(1, (4 * width, quarter, quarter))),
            *(nn.GroupNorm(NUM_GROUPS, 4 * width), nn.ReLU()),
            nn.ConvTranspose2d(4 * width, 2 * width, 4, stride=2, padding=1),  # twice as high and wide
            *(nn.GroupNorm(NUM_GROUPS, 2 * width), nn.ReLU()),
            *(nn.ConvTranspose2d(2 * width, in_channels, 4, stride=2, padding=1), nn.Sigmoid()),
        )
        self.discriminator = nn.Sequential(
            *(nn.Conv2d(in_channels, 2 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(2 * width, 4 * width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)),
            *(nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * width * quarter**2, 1)),
        )

    def forward(self, pictures: Tensor) -> Outputs:
        if pictures.shape[2:] != (self.size, self.size):
            found = "x".join(map(str, pictures.shape[2:]))
            raise UserError(f"model.args.size: found {self.size}, and the pictures are {found} (height x width)")
        pictures = shares_of_white(pictures)  # others would be told from made ones by their numbers alone
        with torch.no_grad():
            made = self.sample(len(pictures))
        real, fake = self.discriminator(pictures), self.discriminator(made)
        return {"real": real, "made": fake, "pictures": pictures, "made_pictures": made}

    def sample(self, number: int) -> Tensor:
        """New pictures, (number, C, size, size) in [0, 1], from codes drawn from N(0, 1)."""
        return self.generator(torch.randn(number, self.latent, device=self.generator[0].weight.device))


@LOSSES.register
def adversarial_loss(output: Outputs, target: object) -> dict[str, Tensor]:
    """Cross entropy of taking real pictures for real, and made ones for made; the target of the data is not used.

    2 ln 2 = 1.386 in all is that of a discriminator that cannot tell them apart.
    """
    real, made = in_full(output["real"]), in_full(output["made"])
    return {"real": F.softplus(-real).mean(), "made": F.softplus(made).mean()}


@METRICS.register
def energy_score(output: Outputs, target: object) -> tuple[Tensor, Tensor]:
    """How far made pictures are from a real one, less half of how far they are from each other; distances of pixels.

    Its mean is least where the made ones are distributed as the real ones, whatever the batches. A single made one has
    no other, and counts nowhere.
    Source: T. Gneiting, A. Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation" (2007).
    """
    real, made = (output[name].float().flatten(1) for name in ("pictures", "made_pictures"))
    num_others = len(made) - 1
    to_made = distances(real, made).mean(dim=1)
    between_made = distances(made, made).sum() / (len(made) * max(num_others, 1))
    is_counted = torch.full_like(to_made, float(num_others > 0))
    return (to_made - between_made / 2) * is_counted, is_counted


def distances(one: Tensor, other: Tensor) -> Tensor:
    """Of each of (N, D) to each of (M, D), (N, M): by their differences, as products in TF32 are off by too much."""
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")
