"""scikit-learn's handwritten digits."""

from importlib.util import find_spec
from pathlib import Path

import numpy
import torch

from base import DATASETS
from data_loader.in_memory import class_targets
from data_loader.pictures.in_memory import PicturesInMemory
from data_loader.splitting import divide


@DATASETS.register
class Digits(PicturesInMemory):
    """1,797 handwritten digits of 8x8 pixels in 10 classes: no download, they ship with scikit-learn.

    Inputs uint8 (N, 1, 8, 8), targets int64 (N,). Validation data are taken from the training part by
    `data_loader.validation_split`.
    Source: E. Alpaydin, C. Kaynak (1998), test set of the UCI "Optical Recognition of Handwritten Digits".
    """

    splits, shape = ("train", "test"), (1, 8, 8)

    def __init__(self, split: str, test_fraction: float = 0.2, split_seed: int = 0):
        # What sklearn.datasets.load_digits reads. To import that takes as long as half of the default training.
        file = Path(find_spec("sklearn").origin).parent / "datasets" / "data" / "digits.csv.gz"
        rows = torch.from_numpy(numpy.loadtxt(file, delimiter=","))  # 64 pixels of 0..16, and the digit
        pixels = rows[:, :-1].mul(255 / 16).round().to(torch.uint8).view(-1, *self.shape)
        targets = class_targets(rows[:, -1])
        names = map(str, range(len(targets)))  # the file never changes: a sample's place in it is its name
        parts = divide(names, 0, round(test_fraction * len(targets)), split_seed)
        self.part_sizes = {name: len(indices) for name, indices in parts.items() if name in self.splits}
        super().__init__(pixels[parts[split]], targets[parts[split]], [str(digit) for digit in range(10)])
