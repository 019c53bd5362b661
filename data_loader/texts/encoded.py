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
from data_loader.texts.vocabulary import PADDING, Encoded, encode, size_of
from utils.errors import UserError

MOST_LETTERS_SHOWN = 200


class EncodedTexts(Dataset):
    """Texts by a fitted vocabulary: a batch is int64 (N, L), padded with 0 at the end, and targets (N, ...).

    texts: without blanks at their ends. targets: None for inputs without. classes: their names by number; None where
    targets are no classes. told_as: what notes call all of them; called: what messages and results call each, None: by
    its beginning. unreadable: why there is no text, by its number. L is the length of the longest text of the batch.
    """

    draws_random_numbers = False

    def __init__(
        self,
        texts: Sequence[str],
        fitted: dict[str, Any],
        targets: Tensor | None = None,
        classes: list[str] | None = None,
        told_as: str = "inputs",
        called: Sequence[str] | None = None,
    ):
        self.texts = texts
        self.unreadable: dict[int, str] = {}
        self._called = called
        self.targets = targets
        self.classes = classes
        self.vocab_size = size_of(fitted)
        self.max_length = fitted["choices"]["max_length"]
        encoded = encode(texts, fitted)
        self.lengths = encoded.lengths
        self._tokens = torch.cat([encoded.tokens, torch.tensor([PADDING], dtype=torch.int32)])
        self._starts = encoded.lengths.cumsum(0) - encoded.lengths
        self.notes = [f"{told_as}: {told}" for told in _told(encoded, fitted["choices"])]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(tensor[0] for tensor in self.__getitems__(torch.tensor([index])))

    def __getitems__(self, indices: Tensor) -> tuple[Tensor, ...]:
        lengths = self.lengths.index_select(0, indices)[:, None]
        if not lengths.all():
            index = int(indices[(lengths == 0)[:, 0]][0])
            raise UserError(self.unreadable.get(index, "there is no text in it"))
        steps = torch.arange(int(lengths.max()))
        places = self._starts.index_select(0, indices)[:, None] + steps
        places.masked_fill_(steps >= lengths, len(self._tokens) - 1)  # where the padding is
        batch = self._tokens[places].long()
        return (batch,) if self.targets is None else (batch, self.targets.index_select(0, indices))

    def collate(self, samples: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        """Samples that were read one by one as a batch."""
        texts, *targets = zip(*samples, strict=True)
        return pad_sequence(texts, batch_first=True, padding_value=PADDING), *map(torch.stack, targets)

    def start_from(self, vectors: Tensor, told: str) -> None:
        """Let a new run's `embedding` start from vectors, (vocab_size, width)."""
        self.initial_weights = {"embedding.weight": vectors}
        self.notes.append(told)

    @property
    def content_keys(self) -> numpy.ndarray:
        """A number for each text that follows from it, uint64 (N,)."""
        return keys_of(self.texts)

    def text_of(self, index: int) -> str:
        return self.texts[index]

    def name_of(self, index: int) -> str:
        if self._called is not None:
            return self._called[index]
        text = self.texts[index]
        return text if len(text) <= MOST_LETTERS_SHOWN else f"{text[: MOST_LETTERS_SHOWN - 3]}..."


def why_no_text(given: Any) -> str | None:
    """Why an input cannot be read as a text; None where it is one."""
    if not isinstance(given, str):
        return f"found {type(given).__name__}; expected a text"
    try:
        given.encode()
    except UnicodeEncodeError:
        return "it is no UTF-8"
    return None


def _told(encoded: Encoded, choices: dict[str, Any]) -> list[str]:
    """What was lost of the texts, in lines for the start of a run."""
    notes, tokens, num_tokens = [], choices["tokens"], len(encoded.tokens)
    if encoded.num_unknown:
        notes.append(f"{encoded.num_unknown / num_tokens:.1%} of {num_tokens:,} {tokens} are not in the vocabulary")
    if encoded.num_cut:
        told = f"they have more than {choices['max_length']} {tokens} (dataset.args.max_length)"
        notes.append(f"{encoded.num_cut:,} of {len(encoded.lengths):,} texts are cut: {told}")
    return notes
