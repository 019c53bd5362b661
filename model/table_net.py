"""A network for tables: embeddings of categories, beside numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from base import MODELS, BaseModel, Count, Share
from model.mlp import MLP

WIDEST_EMBEDDING = 50


@MODELS.register
class TableNet(BaseModel):
    """An MLP of numbers and of an embedding for each column of categories: (N, in_features) -> (N, out_features).

    Inputs are as TabularCSV gives them: numbers, and behind them, for each column, 1 for its category and 0 for others.
    One that the training part lacks has a vector of zeros.
    category_sizes: how many categories each column has. embedding: its width; None: half as many, at most 50.
    """

    def __init__(
        self,
        out_features: Count,
        in_features: Count,
        category_sizes: Sequence[Count] = (),
        hidden: Sequence[Count] = (128, 64),
        embedding: Count | None = None,
        dropout: Share = 0.1,
    ):
        super().__init__()
        self.sizes = [in_features - sum(category_sizes), *category_sizes]
        widths = [embedding or min(WIDEST_EMBEDDING, (1 + size) // 2) for size in category_sizes]
        self.embeddings = nn.ModuleList(
            nn.Linear(size, width, bias=False) for size, width in zip(category_sizes, widths, strict=True)
        )  # of zeros and a single one, its product is the row that nn.Embedding would look up
        self.layers = MLP(out_features, hidden, self.sizes[0] + sum(widths), dropout)

    def forward(self, inputs: Tensor) -> Tensor:
        numbers, *columns = inputs.split(self.sizes, dim=1)
        embedded = [layer(column) for layer, column in zip(self.embeddings, columns, strict=True)]
        return self.layers(torch.cat([numbers, *embedded], dim=1))
