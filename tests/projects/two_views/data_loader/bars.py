import torch
from torch.utils.data import Dataset

from base import DATASETS, TRANSFORMS


@DATASETS.register
class Bars(Dataset):
    """Pictures of one bar each, at its own place and in its own colour, and nothing to tell of them."""

    def __init__(self, split: str, size: int = 160):
        self.size = size if split == "train" else size // 4
        self.first = 0 if split == "train" else size

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(self.first + i)
        picture = torch.zeros(3, 12, 12)
        column = torch.randint(10, (), generator=generator)
        picture[:, :, column : column + 2] = torch.rand(3, 1, 1, generator=generator)
        return picture


@TRANSFORMS.register
class TwoViews:
    """A picture twice, each time in other noise and upside down as often as not."""

    def __init__(self, noise: float = 0.1):
        self.noise = noise

    def __call__(self, picture):
        return self.view(picture), self.view(picture)

    def view(self, picture):
        turned = picture.flip(1) if torch.rand(()) < 0.5 else picture
        return turned + self.noise * torch.randn_like(picture)
