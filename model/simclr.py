"""Learning from pictures without labels: a network, and the loss by which it finds two views of one picture alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from base import LOSSES, METRICS, MODELS, Count
from model.resnet import SmallResNet
from utils.distributed import num_ranks
from utils.errors import UserError


@MODELS.register
class SimCLR(SmallResNet):
    """SmallResNet with a projection in place of its classifier: two views of each picture -> where they lie.

    (2 N, C, H, W), as `TwoViews` and what follows make them, -> (N, 2, projection).
    `trainer.init_from` of its checkpoints gives a SmallResNet of the same width and blocks all weights but its
    classifier's. The projection is left behind: what comes before it is better to classify by.
    Source: T. Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations" (2020).
    """

    def __init__(
        self,
        in_channels: Count = 3,
        width: Count = 64,
        blocks: Sequence[Annotated[int, Field(ge=0)]] = (1, 0, 1),
        projection: Count = 64,
    ):
        super().__init__(1, in_channels, width, blocks)
        num_features = self.classifier.in_features
        del self.classifier
        self.projection = nn.Sequential(
            nn.Linear(num_features, num_features), nn.ReLU(), nn.Linear(num_features, projection)
        )

    def forward(self, views: Tensor) -> Tensor:
        places = self.projection(self.features(views))
        return places.unflatten(0, (2, -1)).transpose(0, 1)  # (2 N, projection) -> (N, 2, projection)


@LOSSES.register
def nt_xent_loss(
    output: Tensor,
    target: object,
    indices: Tensor,
    training: bool,
    temperature: Annotated[float, Field(gt=0)] = 0.5,
) -> tuple[Tensor, Tensor]:
    """Cross entropy of finding, by each of the 2 N views of a batch, the other view of its picture among all others.

    output: (N, 2, D), of which the directions count. It is a sum and the number of pictures, 0 where there is only one.
    The more pictures a batch has, the harder it is: only losses of equal batches can be compared.
    Source: Chen et al. (2020), equation 1.
    """
    check_views(output, indices, training)
    num_pictures = len(output)
    is_counted = float(num_pictures > 1)
    loss = F.cross_entropy(similarities(output) / temperature, places_of_others(output))
    return loss * num_pictures * is_counted, torch.full_like(loss, num_pictures * is_counted)


@METRICS.register
def finds_other_view(output: Tensor, target: object) -> tuple[Tensor, Tensor]:
    """Whether the nearest of all views in the batch is that of the same picture, for how many of the two, (N,)."""
    is_found = similarities(output).argmax(dim=1) == places_of_others(output)
    is_counted = torch.full((len(output),), float(len(output) > 1), device=output.device)
    return is_found.float().unflatten(0, (2, -1)).mean(dim=0) * is_counted, is_counted


nt_xent_loss.compares_samples = finds_other_view.compares_samples = True  # so test.py tells of other batches


def similarities(output: Tensor) -> Tensor:
    """(N, 2, D) -> cosines of all views, first ones before second, (2 N, 2 N); of one with itself -inf."""
    views = F.normalize(output.float().transpose(0, 1).flatten(0, 1), dim=1)
    with torch.autocast(output.device.type, enabled=False):  # in bf16 cosines near 1 are 0.004 apart
        return (views @ views.T).fill_diagonal_(-torch.inf)


def places_of_others(output: Tensor) -> Tensor:
    """Where the other view of each picture stands in a row of `similarities`, (2 N,)."""
    return torch.arange(2 * len(output), device=output.device).roll(len(output))


def check_views(output: Tensor, indices: Tensor, training: bool) -> None:
    """UserError where these are no two views of each picture, or where one has no others to be told from."""
    if output.ndim != 3 or output.shape[1] != 2 or len(output) != len(indices):
        raise UserError(
            f"nt_xent_loss: found outputs {tuple(output.shape)} for {len(indices)} pictures, not two views of each: "
            "TwoViews belongs into dataset.batch_transforms, train and eval, before the transforms that make the views"
        )
    if training and len(output) == 1:
        raise UserError(
            "nt_xent_loss: a batch of one picture has no others to tell it from: set data_loader.batch_size, or "
            "data_loader.drop_last to true"
        )
    if num_ranks() > 1:
        raise UserError(
            f"nt_xent_loss: it compares all pictures of a batch, of which each of {num_ranks()} processes sees its "
            "share only: train in one process"
        )
