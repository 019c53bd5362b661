"""A recurrent language model."""

from torch import Tensor, nn

from base import MODELS, BaseModel, Count, Share


@MODELS.register
class LanguageLSTM(BaseModel):
    """Embedding, LSTM and linear layer: logits of the token that comes after each, (N, vocab_size, T).

    It begins each window with a state of zeros. tied: the embedding is the matrix of the output layer, too.
    """

    def __init__(
        self, vocab_size: Count, width: Count = 256, layers: Count = 2, dropout: Share = 0.0, tied: bool = False
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, vocab_size)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        states, _ = self.lstm(self.dropout(self.embedding(tokens)))
        return self.head(self.dropout(states)).transpose(1, 2)  # (N, T) -> (N, T, width) -> (N, vocab_size, T)
