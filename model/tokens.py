"""What models of texts share: their embedding, and the mean over tokens that leaves out what is padded."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# As the datasets of texts number their tokens: what fills up shorter texts, and what the vocabulary lacks.
PADDING, UNKNOWN = 0, 1


class TokenEmbedding(nn.Embedding):
    """int64 (N, L) -> (N, L, width). In training, a share of the tokens (`dropout`) is taken for unknown ones.

    So these are learned too where the vocabulary has all tokens of the training part. Vectors are small at first:
    with torch's deviation of 1, those of rare tokens stay noise.
    """

    def __init__(self, vocab_size: int, width: int, dropout: float):
        super().__init__(vocab_size, width, padding_idx=PADDING)
        self.dropout = dropout

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=0.1)
        nn.init.zeros_(self.weight.detach()[PADDING])

    def forward(self, tokens: Tensor) -> Tensor:
        if self.training and self.dropout:
            is_dropped = torch.rand(tokens.shape, device=tokens.device) < self.dropout
            tokens = tokens.masked_fill(is_dropped & (tokens != PADDING), UNKNOWN)
        return super().forward(tokens)


def mean_of_tokens(outputs: Tensor, is_token: Tensor) -> Tensor:
    """(N, L, C), bool (N, L) -> (N, C)."""
    total = outputs.masked_fill(~is_token[..., None], 0.0).sum(1)
    return total / is_token.sum(1, keepdim=True).clamp(min=1)
