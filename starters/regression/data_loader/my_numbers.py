"""Numbers to be predicted from numbers. Replace what is made up here by your own."""

import torch

from base import DATASETS, Count
from data_loader.in_memory import InMemoryDataset
from utils.seeding import seeded_generator


@DATASETS.register
class MyNumbers(InMemoryDataset):
    """Inputs float32 (N, 4); targets float32 (N, 1), which depend on the inputs, and on noise of deviation 0.1.

    All are in memory and are taken a batch at a time. For tables use TabularCSV as it is; for what must be read one by
    one, derive from torch's Dataset and write `__getitem__` (docs/data.md).
    """

    def __init__(self, split: str, num_samples: Count = 500):
        generator = seeded_generator("my numbers", split)  # training and test part have nothing in common
        inputs = torch.randn(num_samples, 4, generator=generator)
        noise = 0.1 * torch.randn(num_samples, generator=generator)
        targets = inputs[:, 0] - 2 * inputs[:, 1] + torch.sin(3 * inputs[:, 2]) + noise  # the last one says nothing
        super().__init__(inputs, targets.unsqueeze(1))
