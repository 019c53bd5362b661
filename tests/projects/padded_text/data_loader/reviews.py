from collections import Counter
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from base import DATASETS
from data_loader.splitting import divide

PADDING, UNKNOWN = 0, 1


@DATASETS.register
class Reviews(Dataset):
    """Lines `class TAB words`; the vocabulary is that of the training part. A sample: word numbers (length,), class."""

    classes = ("bad", "fair", "good")

    def __init__(self, split: str, path: str, valid_fraction: float = 0.1, preprocessing: dict | None = None):
        lines = Path(path).read_text().splitlines()
        rows = divide(lines, valid_fraction, 0.2, seed=0)
        if preprocessing is None:
            words = Counter(word for row in rows["train"] for word in lines[row].split("\t")[1].split())
            preprocessing = {"words": [word for word, count in words.most_common() if count > 1]}
        self.preprocessing = preprocessing
        self.vocab_size = len(preprocessing["words"]) + 2
        number_of = {word: number for number, word in enumerate(preprocessing["words"], start=2)}
        self.names = [lines[row] for row in rows[split]]
        self.targets = [self.classes.index(line.split("\t")[0]) for line in self.names]
        texts = [line.split("\t")[1].split() for line in self.names]
        self.texts = [torch.tensor([number_of.get(word, UNKNOWN) for word in text]) for text in texts]
        self.lengths = [len(text) for text in texts]

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, i):
        return self.texts[i], self.targets[i]

    def collate(self, samples):
        texts, targets = zip(*samples, strict=True)
        lengths = torch.tensor([len(text) for text in texts])
        return (pad_sequence(texts, batch_first=True, padding_value=PADDING), lengths), torch.tensor(targets)
