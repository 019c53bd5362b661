"""A long text as windows of tokens, for language models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy
import torch
from torch import Tensor
from torch.utils.data import Dataset

from base import DATASETS, Count, Share
from data_loader.texts.symbols import Kind, Tokens, read_symbols
from utils.errors import UserError

IGNORED = -100  # losses and metrics leave out targets of this number
VALID_FRACTION = 0.1


@DATASETS.register
class TextWindows(Dataset):
    """Windows of a text, in which a model predicts each token from those before it.

    Inputs int64 (N, context_length); targets the same one token later. The training part has a window every `stride`
    tokens (None: context_length, one after the other). Of the other parts each token but the first is predicted once,
    and what the last window lacks counts nowhere.
    path: a text in UTF-8. Its end is the test part (test_fraction, none where it is None), and of what is left the end
    is the validation part (valid_fraction, a tenth where it is None): the place in the text decides, for one of two
    neighbouring windows would tell of the other. valid_path, test_path: texts that are these parts.
    tokens: characters, of which those of the training part are the vocabulary; or bytes.
    """

    draws_random_numbers = False
    has_no_folds = (
        "one would be a stretch out of the middle of the text, which what is before and after it tells much of; divide "
        "it by dataset.args.test_fraction, or give test_path, and repeat it with --seeds"
    )

    def __init__(
        self,
        split: str,
        path: str | None = None,
        context_length: Count = 256,
        tokens: Kind = "characters",
        stride: Count | None = None,
        valid_fraction: Share | None = None,
        test_fraction: Share | None = None,
        valid_path: str | None = None,
        test_path: str | None = None,
        preprocessing: dict[str, Any] | None = None,
    ):
        for part, fraction, file in (("valid", valid_fraction, valid_path), ("test", test_fraction, test_path)):
            if fraction and file:
                raise UserError(f"dataset TextWindows: {part}_path and {part}_fraction both give the {part} part")
        if preprocessing and (preprocessing["characters"] is None) != (tokens == "bytes"):
            raise UserError(
                f"dataset.args.tokens: found {tokens}, but the model was trained on others: leave it as it was"
            )
        own_path = {"train": None, "valid": valid_path, "test": test_path}[split]
        valid = 0.0 if valid_path else VALID_FRACTION if valid_fraction is None else valid_fraction
        test = test_fraction or 0.0
        file = own_path or path
        if file is None or (split == "test" and not (test or own_path)):
            remedy = {"train": "path", "valid": "path or valid_path", "test": "test_path, or path and test_fraction"}
            raise UserError(f"dataset TextWindows: there is no {split} part: set dataset.args.{remedy[split]}")
        self._symbols = read_symbols(file, tokens)
        if own_path is None:
            self._symbols = self._symbols[_place_of(split, len(self._symbols), valid, test)]

        self.preprocessing = preprocessing or {"characters": Tokens.of(self._symbols, tokens).characters}
        self.tokens = Tokens(self.preprocessing["characters"])
        self.vocab_size, self.context_length = self.tokens.number, context_length
        self._stride = (stride or context_length) if split == "train" else context_length
        longest_start = len(self._symbols) - 1 - (context_length if split == "train" else 1)
        if longest_start < 0:
            least = context_length + 1 if split == "train" else 2
            raise UserError(
                f"dataset TextWindows: the {split} part of {file} has {len(self._symbols):,} {tokens}; "
                f"with context_length={context_length} it needs {least:,}"
            )
        self._num_windows = longest_start // self._stride + 1
        self.notes = [f"{split}: {len(self._symbols):,} {tokens} of {file}"]
        if num_unknown := self.tokens.count_unknown(self._symbols):
            self.notes.append(
                f"{split}: {num_unknown:,} {tokens} are none of the training part's, and one token for all"
            )

    def __len__(self) -> int:
        return self._num_windows

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.__getitems__(torch.tensor([index]))
        return inputs[0], targets[0]

    def __getitems__(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        places = indices.numpy()[:, None] * self._stride + numpy.arange(self.context_length + 1)
        last = len(self._symbols) - 1
        tokens = torch.from_numpy(self.tokens.encode(self._symbols[numpy.minimum(places, last)]))
        targets = tokens[:, 1:].masked_fill(torch.from_numpy(places[:, 1:] > last), IGNORED)
        return tokens[:, :-1].contiguous(), targets

    @property
    def content_keys(self) -> numpy.ndarray:
        """What is in the part, as one number for each window, uint64 (N,): all are of the whole of it."""
        return numpy.full(len(self), crc32(numpy.ascontiguousarray(self._symbols).view(numpy.uint8)), numpy.uint64)

    @staticmethod
    def encode(text: str, preprocessing: dict[str, Any]) -> list[int]:
        """A prompt as tokens, for predict.py."""
        return Tokens(preprocessing["characters"]).encode_text(text).tolist()

    @staticmethod
    def decode(tokens: Sequence[int], preprocessing: dict[str, Any]) -> str:
        """Tokens as text, for predict.py."""
        return Tokens(preprocessing["characters"]).decode(tokens)


def _place_of(split: str, length: int, valid: float, test: float) -> slice:
    """The stretch of a text that a part is."""
    without_test = round(length * (1 - test))
    train = int(without_test * (1 - valid))
    return {"train": slice(train), "valid": slice(train, without_test), "test": slice(without_test, None)}[split]
