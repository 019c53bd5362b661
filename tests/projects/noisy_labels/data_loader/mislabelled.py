import torch

from base import DATASETS
from data_loader.in_memory import InMemoryDataset


@DATASETS.register
class Mislabelled(InMemoryDataset):
    """Vectors (N, 10) of three classes, of which 40 % have another label in training; none in the test part."""

    def __init__(self, split: str, size: int = 480, share_wrong: float = 0.4):
        generator = torch.Generator().manual_seed(["train", "test"].index(split))
        targets = torch.randint(3, (size,), generator=generator)
        centres = 1.5 * torch.randn(3, 10, generator=torch.Generator().manual_seed(2))
        inputs = centres[targets] + torch.randn(size, 10, generator=generator)
        if split == "train":
            is_wrong = torch.rand(size, generator=generator) < share_wrong
            targets = torch.where(is_wrong, (targets + torch.randint(1, 3, (size,), generator=generator)) % 3, targets)
        super().__init__(inputs, targets, classes=["a", "b", "c"])
