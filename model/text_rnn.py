"""A recurrent network over the tokens of a text."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from base import MODELS, BaseModel, Count, Share
from model.tokens import PADDING, TokenEmbedding, mean_of_tokens
from utils.errors import UserError


@MODELS.register
class TextRNN(BaseModel):
    """Embedding, recurrent layers, and a linear layer on the mean of their outputs or on their last states.

    width: of the embedding; hidden: of each direction of a layer. pooling: mean, over the tokens of a text; last: the
    output at its last token and, of the way back, at its first.
    packed: what is padded is not computed; if false, it is, and then not looked at, which needs a single direction.
    dropout: of the embedding, between layers and before the linear layer. token_dropout: the share of tokens that
    training takes for unknown ones.
    """

    def __init__(
        self,
        vocab_size: Count,
        out_features: Count,
        width: Count = 64,
        cell: Literal["RNN", "LSTM", "GRU"] = "GRU",
        hidden: Count = 64,
        num_layers: Count = 1,
        bidirectional: bool = True,
        pooling: Literal["mean", "last"] = "mean",
        packed: bool = True,
        dropout: Share = 0.5,
        token_dropout: Share = 0.0,
    ):
        super().__init__()
        if bidirectional and not packed:
            raise UserError(
                "model.args.packed: found false; on its way back, a bidirectional network begins with padding"
            )
        self.pooling = pooling
        self.packed = packed
        self.embedding = TokenEmbedding(vocab_size, width, token_dropout)
        self.dropout = nn.Dropout(dropout)
        self.rnn = getattr(nn, cell)(
            width,
            hidden,
            num_layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if num_layers > 1 else 0.0,
        )
        self.head = nn.Linear((1 + bidirectional) * hidden, out_features)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: int64 (N, L), at the end 0 where padded. Returns (N, out_features)."""
        is_token = tokens != PADDING
        lengths = is_token.sum(1)
        outputs = self.dropout(self.embedding(tokens))  # (N, L, width)
        if self.packed:
            packed = pack_padded_sequence(outputs, lengths.cpu(), batch_first=True, enforce_sorted=False)
            outputs, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True, total_length=tokens.shape[1])
        else:
            outputs, _ = self.rnn(outputs)
        pooled = mean_of_tokens(outputs, is_token) if self.pooling == "mean" else self._last(outputs, lengths)
        return self.head(self.dropout(pooled))

    def _last(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        forth, *back = outputs.chunk(1 + self.rnn.bidirectional, dim=2)
        at_end = forth[torch.arange(len(lengths), device=lengths.device), lengths - 1]
        return torch.cat([at_end, *(each[:, 0] for each in back)], dim=1)
