from torch import nn

from base import MODELS, BaseModel


@MODELS.register
class PixelNet(BaseModel):
    """The class of each pixel from its own colour: no more than its mask has in common with it."""

    def __init__(self, in_channels: int, num_classes: int, width: int = 16):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, width, 1), nn.ReLU(), nn.Conv2d(width, num_classes, 1))

    def forward(self, pictures):
        return self.layers(pictures)  # (N, 3, H, W) -> (N, C, H, W)
