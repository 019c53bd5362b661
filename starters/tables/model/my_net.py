"""A small network of linear layers. Replace it by your own."""

from torch import Tensor, nn

from base import MODELS, BaseModel, Count, Share


@MODELS.register
class MyNet(BaseModel):
    """Two linear layers, with dropout between them."""

    def __init__(self, in_features: Count, out_features: Count, hidden: Count = 32, dropout: Share = 0.1):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_features, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, out_features),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs)  # (N, in_features) -> (N, out_features)
