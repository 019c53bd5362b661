"""A small network that learns CIFAR-10 in seconds on a GPU."""

from typing import Literal

import torch
from torch import Tensor, nn

from base import MODELS, BaseModel, Count


@MODELS.register
class AirbenchNet(BaseModel):
    """A whitening layer and three groups of two convolutions; for pictures of 17x17 and larger.

    widths: channels of the groups. test_time_views: in evaluation, the scores are a mean over this many views of each
    picture: 1, itself; 2, and its mirror image; 6, and both shifted by a pixel up and left, and down and right, which
    count half as much. The whitening layer is set by `start_from_data`; of it, only the bias is trained.
    Source: Keller Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, 2024, arXiv:2404.00498.
    """

    def __init__(
        self,
        num_classes: Count = 10,
        in_channels: Count = 3,
        widths: tuple[Count, Count, Count] = (64, 256, 256),
        output_scale: float = 1 / 9,
        test_time_views: Literal[1, 2, 6] = 2,
    ):
        super().__init__()
        self.output_scale = output_scale
        self.test_time_views = test_time_views
        num_whitened = 2 * in_channels * 2 * 2  # each direction of a 2x2 patch and its negative: GELU keeps one half
        self.whitening = nn.Conv2d(in_channels, num_whitened, kernel_size=2)  # (N, C, H, W) -> (N, 8 * C, H - 1, W - 1)
        self.whitening.weight.requires_grad_(False)
        nn.init.zeros_(self.whitening.bias)
        groups = zip((num_whitened, *widths), widths, strict=False)
        self.groups = nn.Sequential(nn.GELU(), *(ConvolutionGroup(*channels) for channels in groups))
        self.classifier = nn.Linear(widths[-1], num_classes, bias=False)

    def start_from_data(self, pictures: Tensor) -> None:
        """Set the whitening layer: on the 2x2 patches of these pictures (N, C, H, W), its outputs are uncorrelated.

        In float64 on the CPU: a GPU's TF32 would lose the small eigenvalues.
        """
        patches = pictures.cpu().double().unfold(2, 2, 1).unfold(3, 2, 1)  # (N, C, H - 1, W - 1, 2, 2), a view
        patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)  # (patches, C * 2 * 2)
        covariance = patches.T @ patches / len(patches)
        eigenvalues, eigenvectors = torch.linalg.eigh(covariance)  # eigenvectors in columns
        directions = (eigenvectors / (eigenvalues + 5e-4).sqrt()).T
        self.whitening.weight.copy_(torch.cat([directions, -directions]).view_as(self.whitening.weight))

    def forward(self, pictures: Tensor) -> Tensor:
        if self.training or self.test_time_views == 1:
            return self.scores(pictures)
        scores = self.scores_of_both_sides(pictures)
        if self.test_time_views == 6:
            padded = nn.functional.pad(pictures, (1, 1, 1, 1), mode="reflect")
            shifted = (padded[:, :, 2:, 2:], padded[:, :, :-2, :-2])
            scores = scores / 2 + sum(map(self.scores_of_both_sides, shifted)) / 4
        return scores

    def scores_of_both_sides(self, pictures: Tensor) -> Tensor:
        return (self.scores(pictures) + self.scores(pictures.flip(3))) / 2

    def scores(self, pictures: Tensor) -> Tensor:
        features = self.groups(self.whitening(pictures))  # (N, C, H, W) -> (N, widths[2], (H - 1) / 8, (W - 1) / 8)
        # amax has a deterministic backward pass on a GPU, AdaptiveMaxPool2d has none.
        return self.classifier(features.amax(dim=(2, 3))) * self.output_scale  # -> (N, num_classes)


class ConvolutionGroup(nn.Sequential):
    """Two convolutions that begin as the identity, the first with pooling: (N, C, H, W) -> (N, C', H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(
            identity_convolution(in_channels, out_channels),
            nn.MaxPool2d(2),
            norm_without_scale(out_channels),
            nn.GELU(),
            identity_convolution(out_channels, out_channels),
            norm_without_scale(out_channels),
            nn.GELU(),
        )


def identity_convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    """A 3x3 convolution whose first `in_channels` outputs begin as its inputs; further ones begin as random."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
    nn.init.dirac_(convolution.weight[:in_channels])
    return convolution


def norm_without_scale(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation of which only the bias is trained."""
    norm = nn.BatchNorm2d(channels, eps=1e-12)
    norm.weight.requires_grad_(False)
    return norm
