"""Texts in memory as numbers, padded a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from data_loader.splitting import keys_of
from data_loader.vocabulary import PADDING, Encoded, encode, size_of
from utils.errors import UserError

MOST_LETTERS_SHOWN = 200


class EncodedTexts(Dataset):
    """Texts by a fitted vocabulary: a batch is int64 (N, L), padded with 0 at the end, and targets (N, ...).

    texts: without blanks at their ends. targets: None for inputs without. classes: their names by number; None where
    targets are no classes. L is the length of the longest text of the batch.
    """

    draws_random_numbers = False

    def __init__(
        self,
        texts: Sequence[str],
        fitted: dict[str, Any],
        targets: Tensor | None = None,
        classes: list[str] | None = None,
    ):
        self.texts = texts
        self.targets = targets
        self.classes = classes
        self.vocab_size = size_of(fitted)
        self.max_length = fitted["choices"]["max_length"]
        encoded = encode(texts, fitted)
        self.lengths = encoded.lengths
        self._tokens = torch.cat([encoded.tokens, torch.tensor([PADDING], dtype=torch.int32)])
        self._starts = encoded.lengths.cumsum(0) - encoded.lengths
        self.notes = _notes(encoded, fitted["choices"])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor[0] for tensor in self.__getitems__(torch.tensor([index])))

    def __getitems__(self, indices: Tensor) -> tuple[Tensor, ...]:
        lengths = self.lengths.index_select(0, indices)[:, None]
        if not lengths.all():
            raise UserError("there is no text in it")
        steps = torch.arange(int(lengths.max()))
        places = self._starts.index_select(0, indices)[:, None] + steps
        places.masked_fill_(steps >= lengths, len(self._tokens) - 1)  # where the padding is
        batch = self._tokens[places].long()
        return (batch,) if self.targets is None else (batch, self.targets.index_select(0, indices))

    def collate(self, samples: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Samples that were read one by one as a batch."""
        texts, *targets = zip(*samples, strict=True)
        return pad_sequence(texts, batch_first=True, padding_value=PADDING), *map(torch.stack, targets)

    @property
    def content_keys(self) -> numpy.ndarray:
        """A number for each text that follows from it, uint64 (N,)."""
        return keys_of(self.texts)

    def name_of(self, index: int) -> str:
        """The text, or how it begins."""
        text = self.texts[index]
        return text if len(text) <= MOST_LETTERS_SHOWN else f"{text[: MOST_LETTERS_SHOWN - 3]}..."


def _notes(encoded: Encoded, choices: dict[str, Any]) -> list[str]:
    """What was lost of the texts, in lines for the start of a run."""
    notes, tokens, num_tokens = [], choices["tokens"], len(encoded.tokens)
    if encoded.num_unknown:
        notes.append(f"{encoded.num_unknown / num_tokens:.1%} of {num_tokens:,} {tokens} are not in the vocabulary")
    if encoded.num_cut:
        told = f"they have more than {choices['max_length']} {tokens} (dataset.args.max_length)"
        notes.append(f"{encoded.num_cut:,} of {len(encoded.lengths):,} texts are cut: {told}")
    return notes
