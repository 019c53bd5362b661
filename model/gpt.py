"""A small GPT."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from base import MODELS, BaseModel, Count, Share
from utils.errors import UserError


@MODELS.register
class GPT(BaseModel):
    """Blocks of causal attention and an MLP: logits of the token that comes after each of (N, T), (N, vocab_size, T).

    context_length: the most tokens that it sees. The embedding of the tokens is the matrix of the output layer, too.
    Source: A. Radford et al., "Language Models are Unsupervised Multitask Learners" (2019); without biases and with the
    small sizes of Karpathy's nanoGPT.
    """

    def __init__(
        self,
        vocab_size: Count,
        context_length: Count,
        layers: Count = 4,
        heads: Count = 4,
        width: Count = 128,
        dropout: Share = 0.0,
        bias: bool = False,
    ):
        super().__init__()
        if width % heads:
            raise UserError(f"model GPT: width={width} does not divide by heads={heads}")
        self.tokens = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(context_length, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads, dropout, bias) for _ in range(layers)))
        self.norm = nn.LayerNorm(width, bias=bias)
        self.head = nn.Linear(width, vocab_size, bias=False)
        self.head.weight = self.tokens.weight
        for name, parameter in self.named_parameters():
            if parameter.ndim >= 2:  # what is added up along the depth begins smaller, so that its sum does not
                is_added = name.endswith("into_stream.weight")
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if is_added else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        length, longest = tokens.shape[1], self.positions.num_embeddings
        if length > longest:
            raise UserError(f"model GPT: {length} tokens, but it was built for context_length={longest}")
        positions = torch.arange(length, device=tokens.device)
        stream = self.blocks(self.dropout(self.tokens(tokens) + self.positions(positions)))
        return self.head(self.norm(stream)).transpose(1, 2)  # (N, T) -> (N, T, width) -> (N, vocab_size, T)


class Block(nn.Module):
    """What each layer adds to the stream (N, T, width): what attention finds, and what an MLP makes of that."""

    def __init__(self, width: int, heads: int, dropout: float, bias: bool):
        super().__init__()
        self.norm = nn.LayerNorm(width, bias=bias)
        self.attention = CausalAttention(width, heads, dropout, bias)
        self.mlp_norm = nn.LayerNorm(width, bias=bias)
        self.mlp = FeedForward(width, dropout, bias)

    def forward(self, stream: Tensor) -> Tensor:
        stream = stream + self.attention(self.norm(stream))
        return stream + self.mlp(self.mlp_norm(stream))


class CausalAttention(nn.Module):
    """Attention of several heads, in which a token sees those before it and itself."""

    def __init__(self, width: int, heads: int, dropout: float, bias: bool):
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=bias)
        self.into_stream = nn.Linear(width, width, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, stream: Tensor) -> Tensor:
        of_each = self.queries_keys_values(stream).unflatten(2, (3, self.heads, -1))  # (N, T, 3, heads, width / heads)
        queries, keys, values = of_each.permute(2, 0, 3, 1, 4)
        rate = self.rate if self.training else 0.0
        found = F.scaled_dot_product_attention(queries, keys, values, dropout_p=rate, is_causal=True)
        return self.dropout(self.into_stream(found.transpose(1, 2).flatten(2)))


class FeedForward(nn.Module):
    """Four times as wide inside."""

    def __init__(self, width: int, dropout: float, bias: bool):
        super().__init__()
        self.widen = nn.Linear(width, 4 * width, bias=bias)
        self.into_stream = nn.Linear(4 * width, width, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, stream: Tensor) -> Tensor:
        return self.dropout(self.into_stream(F.gelu(self.widen(stream))))
