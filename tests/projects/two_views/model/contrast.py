import torch
import torch.nn.functional as F
from torch import nn

from base import LOSSES, METRICS, MODELS, BaseModel


@MODELS.register
class TwoViewNet(BaseModel):
    """Where two views of a picture lie on the unit sphere: (N, C, H, W) twice -> (N, width) twice."""

    def __init__(self, in_channels: int = 3, width: int = 16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(width)
        )

    def forward(self, view, other):
        return F.normalize(self.layers(view), dim=1), F.normalize(self.layers(other), dim=1)


@LOSSES.register
def contrastive_loss(output, target, temperature: float = 0.2):
    """Cross entropy of finding the other view of a picture among those of all. Source: Chen et al., SimCLR, 2020."""
    view, other = output
    similarity = view @ other.T / temperature  # (N, N)
    places = torch.arange(len(view), device=view.device)
    return (F.cross_entropy(similarity, places) + F.cross_entropy(similarity.T, places)) / 2


@METRICS.register
def other_is_nearest(output, target):
    view, other = output
    return (view @ other.T).argmax(dim=1) == torch.arange(len(view), device=view.device)
