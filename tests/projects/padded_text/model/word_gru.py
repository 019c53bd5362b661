from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from base import MODELS, BaseModel


@MODELS.register
class WordGRU(BaseModel):
    """The class of a text from the last state of a GRU over its words."""

    def __init__(self, vocab_size: int, num_classes: int, width: int = 24):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, width, padding_idx=0)
        self.gru = nn.GRU(width, width, batch_first=True)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, num_classes)

    def forward(self, words, lengths):  # (N, L), (N,) -> (N, C)
        packed = pack_padded_sequence(self.embedding(words), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, state = self.gru(packed)
        return self.head(self.dropout(state[0]))
