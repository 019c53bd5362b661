"""What models of texts share: their embedding, and the mean over tokens that leaves out what is padded."""

from __future__ import annotations

from torch import Tensor, nn

PADDING = 0  # the number that fills up shorter texts of a batch


def embedding_of(vocab_size: int, width: int) -> nn.Embedding:
    """An embedding whose vectors are small at first: with torch's deviation of 1, what is rare stays noise."""
    embedding = nn.Embedding(vocab_size, width, padding_idx=PADDING)
    nn.init.normal_(embedding.weight, std=0.1)
    nn.init.zeros_(embedding.weight[PADDING].detach())
    return embedding


def mean_of_tokens(outputs: Tensor, is_token: Tensor) -> Tensor:
    """(N, L, C), bool (N, L) -> (N, C)."""
    total = outputs.masked_fill(~is_token[..., None], 0.0).sum(1)
    return total / is_token.sum(1, keepdim=True).clamp(min=1)
