"""Texts as whole numbers: what a token is, the vocabulary of the training part, and texts written in it."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy
import torch
from torch import Tensor

from utils.blocks import in_blocks
from utils.errors import UserError

PADDING, UNKNOWN = 0, 1  # the vocabulary's own tokens follow
NUM_SPECIAL = 2
NUM_BYTES = 256
# A word may have apostrophes in it; what is neither a letter, a digit, _ nor a blank is a token alone.
PATTERNS = {"words": r"\w+(?:['’]\w+)*|[^\w\s]", "characters": r"(?s)."}
Tokens = Literal["words", "characters", "bytes"]


class TokenChoices(NamedTuple):
    """The arguments of a dataset of texts that say what becomes of them."""

    tokens: Tokens
    lower: bool
    vocab_size: int | None
    min_count: int | None
    max_length: int


class Encoded(NamedTuple):
    """tokens: int32 (T,), those of all texts, one text after the other. lengths: int64 (N,), how many each has.

    num_cut: texts that were longer than they may be. num_unknown: tokens that the vocabulary lacks.
    """

    tokens: Tensor
    lengths: Tensor
    num_cut: int
    num_unknown: int


def fit_vocabulary(texts: Sequence[str], choices: TokenChoices) -> dict[str, Any]:
    """What `encode` goes by, as plain data: the commonest tokens of the training texts, equal ones by the alphabet.

    UserError where none is left.
    """
    fitted = {"choices": choices._asdict(), "vocabulary": None}
    if choices.tokens == "bytes":
        if choices.vocab_size is not None or choices.min_count is not None:
            raise UserError("dataset.args: with tokens: bytes, vocab_size and min_count change nothing; leave them out")
        return fitted
    counts: Counter[str] = Counter()
    for flat, _ in _split(texts, choices.tokens, choices.lower):
        counts.update(dict(flat.value_counts().iter_rows()))
    min_count = 2 if choices.min_count is None else choices.min_count
    common = sorted((-count, token) for token, count in counts.items() if count >= min_count)
    most = None if choices.vocab_size is None else max(0, choices.vocab_size - NUM_SPECIAL)
    fitted["vocabulary"] = [token for _, token in common[:most]]
    if not fitted["vocabulary"]:
        raise UserError(
            f"dataset.args: no vocabulary is left: none of the {len(counts):,} different {choices.tokens} of the "
            f"training part is among the vocab_size commonest and there min_count ({min_count}) times"
        )
    return fitted


def check_choices(fitted: dict[str, Any], asked: dict[str, Any]) -> None:
    """UserError for each argument that the model was trained with otherwise: what texts become is settled."""
    trained = fitted["choices"]
    wrong = [
        f"dataset.args.{name}: found {value}, but the model was trained with {trained[name]}; leave it out"
        for name, value in asked.items()
        if value != trained[name]
    ]
    if wrong:
        raise UserError("\n".join(wrong))


def size_of(fitted: dict[str, Any]) -> int:
    """How many numbers tokens have, those of padding and of unknown ones included."""
    return NUM_SPECIAL + (NUM_BYTES if fitted["vocabulary"] is None else len(fitted["vocabulary"]))


def encode(texts: Sequence[str], fitted: dict[str, Any]) -> Encoded:
    """Texts as numbers, by what `fit_vocabulary` gave. One without a token (blank) has the length 0."""
    choices, vocabulary = fitted["choices"], fitted["vocabulary"]
    numbers = [*range(NUM_SPECIAL, size_of(fitted))]
    most = choices["max_length"]
    pieces, lengths = [numpy.empty(0, numpy.int32)], [numpy.empty(0, numpy.int64)]
    for flat, whole in _split(texts, choices["tokens"], choices["lower"]):
        if vocabulary is None:
            block = flat.astype(numpy.int32) + NUM_SPECIAL
        else:
            block = flat.replace_strict(vocabulary, numbers, default=UNKNOWN).to_numpy().astype(numpy.int32)
        places = numpy.arange(len(block)) - (whole.cumsum() - whole).repeat(whole)
        pieces.append(block[places < most])
        lengths.append(whole)
    tokens, whole = numpy.concatenate(pieces), numpy.concatenate(lengths)
    num_unknown = numpy.count_nonzero(tokens == UNKNOWN)
    cut = torch.from_numpy(whole.clip(max=most))
    return Encoded(torch.from_numpy(tokens), cut, numpy.count_nonzero(whole > most), num_unknown)


def _split(texts: Sequence[str], tokens: Tokens, lower: bool) -> Iterator[tuple[Any, numpy.ndarray]]:
    """In blocks of texts, all their tokens (a Series; of bytes an array, uint8), and how many each text has, int64.

    What looks the same is: macOS writes é as two characters, and so do texts that come from there (NFC makes it one).
    """
    import polars

    for some in in_blocks(len(texts)):
        composed = [unicodedata.normalize("NFC", text) for text in texts[some]]
        block = polars.Series("tokens", composed, polars.String)
        if lower:
            block = block.str.to_lowercase()
        if tokens == "bytes":
            yield numpy.frombuffer("".join(block).encode(), numpy.uint8), _as_int64(block.str.len_bytes())
        else:
            lists = block.str.extract_all(PATTERNS[tokens])
            yield lists.explode().drop_nulls(), _as_int64(lists.list.len())


def _as_int64(counts: Any) -> numpy.ndarray:
    return counts.to_numpy().astype(numpy.int64)
