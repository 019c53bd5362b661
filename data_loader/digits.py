"""scikit-learn's handwritten digits."""

import torch

from base import DATASETS
from data_loader.in_memory import InMemoryDataset, class_targets
from data_loader.splitting import split_by_seed


@DATASETS.register
class Digits(InMemoryDataset):
    """1,797 handwritten digits of 8x8 pixels in 10 classes: no download, they ship with scikit-learn.

    Inputs uint8 (N, 1, 8, 8), targets int64 (N,). Train and test hold each class in the same proportion; validation
    data are taken from the training part by `data_loader.validation_split`.
    Source: E. Alpaydin, C. Kaynak (1998), test set of the UCI "Optical Recognition of Handwritten Digits".
    """

    splits = ("train", "test")

    def __init__(self, split: str, test_fraction: float = 0.2, split_seed: int = 0):
        from sklearn.datasets import load_digits

        digits = load_digits()
        pixels = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)  # 0..16 -> 0..255
        targets = class_targets(digits.target)
        part = split_by_seed(len(targets), targets, 0, test_fraction, split_seed)[split]
        super().__init__(pixels[part], targets[part], [str(digit) for digit in digits.target_names])
