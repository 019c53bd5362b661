"""Sequences of different lengths, and a number to predict for each. Replace what is made up here by your own."""

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from base import DATASETS, Count
from utils.seeding import seeded_generator

Sample = dict[str, Tensor]


@DATASETS.register
class MySequences(Dataset):
    """Samples of a sequence float32 (length, 2), its length and a target float32 (1,), the sum of one of its columns.

    A sample is a dict: `target` is what the loss gets, all else goes to the model's `forward` by name. Here its numbers
    follow from its index; what a sample draws from torch, numpy or random is seeded by epoch and index.
    """

    def __init__(self, split: str, num_samples: Count = 300, longest: Count = 12):
        self.split, self.num_samples, self.longest = split, num_samples, longest

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: int) -> Sample:
        generator = seeded_generator("my sequences", self.split, index)
        length = torch.randint(1, self.longest + 1, (), generator=generator)
        sequence = torch.randn(int(length), 2, generator=generator)
        return {"sequence": sequence, "length": length, "target": sequence[:, :1].sum(dim=0)}

    def collate(self, samples: list[Sample]) -> Sample:
        """A batch: sequences (N, longest of them, 2), padded with zeros, lengths (N,), targets (N, 1)."""
        return {
            "sequence": pad_sequence([sample["sequence"] for sample in samples], batch_first=True),
            "length": torch.stack([sample["length"] for sample in samples]),
            "target": torch.stack([sample["target"] for sample in samples]),
        }
