import torch

from base import DATASETS
from data_loader.in_memory import InMemoryDataset


@DATASETS.register
class Tags(InMemoryDataset):
    """Vectors (N, 12) and, of four tags, those that each has: float32 (N, 4)."""

    def __init__(self, split: str, size: int = 240):
        generator = torch.Generator().manual_seed(0 if split == "train" else 1)
        directions = torch.randn(12, 4, generator=torch.Generator().manual_seed(2))
        inputs = torch.randn(size if split == "train" else size // 4, 12, generator=generator)
        super().__init__(inputs, (inputs @ directions > 0).float(), classes=["red", "round", "ripe", "sweet"])
