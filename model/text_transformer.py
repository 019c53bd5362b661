"""A small transformer over the tokens of a text."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from base import MODELS, BaseModel, Count, Share
from model.tokens import PADDING, TokenEmbedding, mean_of_tokens


@MODELS.register
class TextTransformer(BaseModel):
    """Embedding and learned positions, layers with their norms first, and a linear layer on the mean over the tokens.

    width: a multiple of num_heads; hidden: between the two linear layers of each block. num_layers: 0 takes the mean of
    the embeddings alone, as fastText does, and the order of the tokens counts for nothing. max_length: of the texts.
    dropout: of the embedding and before the last linear layer; layer_dropout: within the layers. token_dropout: the
    share of tokens that training takes for unknown ones.
    Source: Vaswani et al., Attention is all you need, 2017; norms first: Xiong et al., On layer normalization, 2020.
    """

    def __init__(
        self,
        vocab_size: Count,
        out_features: Count,
        max_length: Count,
        width: Count = 64,
        num_layers: Annotated[int, Field(ge=0)] = 1,
        num_heads: Count = 4,
        hidden: Count = 128,
        dropout: Share = 0.5,
        layer_dropout: Share = 0.1,
        token_dropout: Share = 0.0,
    ):
        super().__init__()
        self.embedding = TokenEmbedding(vocab_size, width, token_dropout)
        self.positions = nn.Parameter(0.02 * torch.randn(max_length, width))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, num_heads, hidden, layer_dropout, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, out_features)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: int64 (N, L), at the end 0 where padded. Returns (N, out_features)."""
        is_token = tokens != PADDING
        embedded = self.embedding(tokens) + self.positions[: tokens.shape[1]]
        outputs = self.dropout(embedded)  # (N, L, width)
        for layer in self.layers:
            outputs = layer(outputs, src_key_padding_mask=~is_token)
        return self.head(self.dropout(self.norm(mean_of_tokens(outputs, is_token))))
