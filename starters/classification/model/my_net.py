"""A small convolutional network. Replace it by your own."""

from torch import Tensor, nn

from base import MODELS, BaseModel, Count


@MODELS.register
class MyNet(BaseModel):
    """Two convolutions, each followed by a norm and pooling, and a linear layer on the mean over the picture."""

    def __init__(self, in_channels: Count, num_classes: Count, width: Count = 16):
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(in_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU()),
        )
        self.head = nn.Linear(2 * width, num_classes)

    def forward(self, pictures: Tensor) -> Tensor:
        features = self.features(pictures)  # (N, C, H, W) -> (N, 2 * width, H / 2, W / 2)
        return self.head(features.mean(dim=(2, 3)))  # -> (N, num_classes)
