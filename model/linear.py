"""Linear and softmax regression."""

from torch import Tensor, nn

from base import MODELS, BaseModel, Count


@MODELS.register
class LinearRegression(BaseModel):
    """One linear layer on the flattened input; softmax regression when trained with CrossEntropyLoss.

    in_features: None takes it from the first batch.
    """

    def __init__(self, out_features: Count = 1, in_features: Count | None = None):
        super().__init__()
        self.linear = linear(in_features, out_features)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs.flatten(1))  # (N, ...) -> (N, in_features) -> (N, out_features)


def linear(in_features: int | None, out_features: int) -> nn.Linear:
    """A linear layer that takes the width of its input from the first batch where it isn't given."""
    if in_features is None:
        return nn.LazyLinear(out_features)
    return nn.Linear(in_features, out_features)
