import torch
from torch.utils.data import Dataset

from base import DATASETS


@DATASETS.register
class Points(Dataset):
    """Points (2,) around one place, without a target: a generator shall make more of them."""

    def __init__(self, split: str, size: int = 400):
        generator = torch.Generator().manual_seed(["train", "test"].index(split))
        self.points = torch.tensor([2.0, -1.0]) + 0.3 * torch.randn(size, 2, generator=generator)

    def __len__(self):
        return len(self.points)

    def __getitem__(self, i):
        return self.points[i]
