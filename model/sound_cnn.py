"""A small convolutional network for spectrograms."""

from collections.abc import Sequence

from torch import Tensor, nn

from base import MODELS, BaseModel, Count, Share


@MODELS.register
class SoundCNN(BaseModel):
    """Convolutions with batch normalisation, the size halved after each but the last, and the mean over what is left.

    Spectrograms (N, in_channels, F, T) of any size -> (N, num_classes).
    """

    def __init__(
        self,
        num_classes: Count,
        in_channels: Count = 1,
        channels: Sequence[Count] = (16, 32, 64, 64),
        dropout: Share = 0.2,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for place, width in enumerate(channels):
            layers += [nn.MaxPool2d(2)] if place else []
            layers += [nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            in_channels = width
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(in_channels, num_classes)

    def forward(self, spectrograms: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(spectrograms).mean(dim=(2, 3))))
