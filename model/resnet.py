"""A small residual network for 32x32 pictures."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from base import MODELS, BaseModel, Count


@MODELS.register
class SmallResNet(BaseModel):
    """Three stages of convolutions that halve the picture and double the channels, with residual blocks between.

    width: channels of the first convolution; 16 is fast on a CPU. blocks: residual blocks in each stage; (1, 0, 1)
    is ResNet-9, which reaches 94 % on CIFAR-10 in about 24 epochs.
    Source: David Page, How to train your ResNet, 2018 (DAWNBench), his output scale included.
    """

    def __init__(
        self,
        num_classes: Count = 10,
        in_channels: Count = 3,
        width: Count = 64,
        blocks: Sequence[Annotated[int, Field(ge=0)]] = (1, 0, 1),
        output_scale: float = 0.125,
    ):
        super().__init__()
        self.output_scale = output_scale  # keeps the first logits small, so that a high learning rate is safe
        self.stem = convolution(in_channels, width)  # (N, C, H, W) -> (N, width, H, W)
        stages: list[nn.Module] = []
        for num_blocks in blocks:  # each stage: (N, width, H, W) -> (N, 2 * width, H / 2, W / 2)
            stages += [convolution(width, 2 * width), nn.MaxPool2d(2)]
            width *= 2
            stages += [ResidualBlock(width) for _ in range(num_blocks)]
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(width, num_classes, bias=False)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.classifier(self.features(pictures)) * self.output_scale  # -> (N, num_classes)

    def features(self, pictures: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 8 * width): what the classifier sees."""
        features = self.stages(self.stem(pictures))  # -> (N, 8 * width, H / 8, W / 8)
        # amax has a deterministic backward pass on a GPU, AdaptiveMaxPool2d has none.
        return features.amax(dim=(2, 3))


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to their input; (N, C, H, W) stays (N, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(convolution(channels, channels), convolution(channels, channels))

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features)


def convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    """A 3x3 convolution with batch normalisation, whose own bias makes the convolution's needless, and ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
