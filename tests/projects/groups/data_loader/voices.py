import torch
from torch.utils.data import Dataset

from base import DATASETS


@DATASETS.register
class Voices(Dataset):
    """Recordings (N, 6) of two words by speakers of twelve recordings each, who are not to be in two parts."""

    classes = ("no", "yes")

    def __init__(self, split: str, num_speakers: int = 40):
        generator = torch.Generator().manual_seed(["train", "test"].index(split))
        self.groups = [f"{split} speaker {number}" for number in range(num_speakers) for _ in range(12)]
        self.targets = torch.randint(2, (len(self.groups),), generator=generator)
        voices = torch.randn(num_speakers, 6, generator=generator).repeat_interleave(12, 0)
        self.inputs = voices + 3 * self.targets[:, None] * torch.tensor([1, -1, 1, -1, 1, -1])

    def __len__(self):
        return len(self.groups)

    def __getitem__(self, i):
        return self.inputs[i], self.targets[i]

    def name_of(self, i):
        return self.groups[i]
