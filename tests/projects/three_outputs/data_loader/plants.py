from pathlib import Path

import torch

from base import DATASETS
from data_loader.in_memory import InMemoryDataset
from data_loader.splitting import divide


@DATASETS.register
class Plants(InMemoryDataset):
    """A table of numbers, the last three of each line to be learned, both standardised by the training part."""

    def __init__(self, split: str, path: str, valid_fraction: float = 0.1, preprocessing: dict | None = None):
        header, *lines = Path(path).read_text().splitlines()
        numbers = torch.tensor([[float(number) for number in line.split(",")] for line in lines])
        rows = divide(lines, valid_fraction, 0.2, seed=0)
        if preprocessing is None:
            fitted = numbers[rows["train"]]
            preprocessing = {"mean": fitted.mean(0), "deviation": fitted.std(0)}
        self.preprocessing = preprocessing
        self.feature_names = header.split(",")[:-3]
        mean, deviation = preprocessing["mean"], preprocessing["deviation"]
        self.target_scale = mean[-3:], deviation[-3:]
        scaled = ((numbers - mean) / deviation)[rows[split]]
        super().__init__(scaled[:, :-3], scaled[:, -3:])
