"""Small convolutional networks for grey digits."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from base import MODELS, BaseModel, Count, Share


@MODELS.register
class LeNet(BaseModel):
    """Two convolutions with pooling, then two linear layers; for pictures of 8x8 and larger.

    channels: of the two convolutions. hidden: width of the first linear layer.
    padding: 2 keeps the size of a picture through a convolution; 0 is for pictures of 16x16 and larger.
    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998, with ReLU and dropout.
    """

    def __init__(
        self,
        num_classes: Count = 10,
        in_channels: Count = 1,
        channels: tuple[Count, Count] = (10, 20),
        hidden: Count = 50,
        dropout: Share = 0.5,
        padding: Annotated[int, Field(ge=0)] = 2,
    ):
        super().__init__()
        first, second = channels
        self.features = nn.Sequential(  # (N, in_channels, H, W) -> (N, second, H / 4, W / 4)
            nn.Conv2d(in_channels, first, kernel_size=5, padding=padding),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(first, second, kernel_size=5, padding=padding),
            nn.Dropout2d(dropout),
            nn.MaxPool2d(2),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(  # (N, second * H / 4 * W / 4) -> (N, num_classes)
            nn.LazyLinear(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        return self.classifier(self.features(pictures).flatten(1))


@MODELS.register
class MnistModel(LeNet):
    """The model of victoresque/pytorch-template: LeNet without padding, with log probabilities, for nll_loss."""

    def __init__(self, num_classes: Count = 10):
        super().__init__(num_classes, padding=0)

    def forward(self, pictures: Tensor) -> Tensor:
        return super().forward(pictures).log_softmax(dim=1)  # (N, 1, 28, 28) -> (N, num_classes)
