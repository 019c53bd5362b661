"""The multilayer perceptron."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from base import MODELS, BaseModel, Count, Share
from model.linear import linear


@MODELS.register
class MLP(BaseModel):
    """Linear layers on the flattened input, with an activation and dropout after each but the last.

    hidden: widths of the hidden layers. in_features: None takes it from the first batch.
    """

    def __init__(
        self,
        out_features: Count,
        hidden: Sequence[Count] = (128,),
        in_features: Count | None = None,
        dropout: Share = 0.0,
        activation: Literal["ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Mish", "Tanh", "Sigmoid"] = "ReLU",
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [linear(in_features, width), getattr(nn, activation)(), nn.Dropout(dropout)]
            in_features = width
        self.layers = nn.Sequential(*layers, linear(in_features, out_features))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layers(inputs.flatten(1))  # (N, ...) -> (N, in_features) -> (N, out_features)
