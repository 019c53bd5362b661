"""A recurrent network. Replace it by your own."""

import torch
from torch import Tensor, nn

from base import MODELS, BaseModel, Count


@MODELS.register
class MyNet(BaseModel):
    """A GRU, and a linear layer on its state at the end of each sequence."""

    def __init__(self, hidden: Count = 32):
        super().__init__()
        self.gru = nn.GRU(2, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, sequence: Tensor, length: Tensor) -> Tensor:
        states, _ = self.gru(sequence)  # (N, longest, 2) -> (N, longest, hidden)
        last = states[torch.arange(len(states), device=states.device), length - 1]  # what is padded comes later
        return self.head(last)  # (N, hidden) -> (N, 1)
