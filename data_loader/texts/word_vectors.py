"""Word vectors that others have trained, from a text file as GloVe, word2vec and fastText write it."""

from __future__ import annotations

import codecs
import os
from collections.abc import Sequence

import numpy
import torch
from torch import Tensor

from data_loader.texts.vocabulary import NUM_SPECIAL, PADDING
from utils.errors import UserError


def vectors_of(path: str, vocabulary: Sequence[str] | None) -> tuple[Tensor, str]:
    """A vector for each number of a token, float32 (NUM_SPECIAL + tokens, width), and what to say of them.

    A token that the file lacks, and the unknown one, get the mean of those found; padding is 0. A line is a token and
    its numbers, with blanks between; a first line of two numbers (word2vec's) is no token. UserError where it is no
    such file, or has no token of the vocabulary.
    """
    if vocabulary is None:
        raise UserError("dataset.args.vectors: bytes have no word vectors; leave it out, or tokens: bytes")
    places = {token.encode(): place for place, token in enumerate(vocabulary, start=NUM_SPECIAL)}
    found: dict[int, numpy.ndarray] = {}
    width = None
    try:
        with open(os.path.expanduser(path), "rb") as file:
            for number, line in enumerate(file, start=1):
                token, _, rest = line.rstrip().partition(b" ")
                if number == 1:
                    token = token.removeprefix(codecs.BOM_UTF8)
                    is_header = token.isdigit() and rest.isdigit()
                    width = int(rest) if is_header else len(rest.split())
                place = places.get(token)
                if (number == 1 and is_header) or place is None or place in found:
                    continue
                numbers = rest.split()
                if len(numbers) <= width:  # else a token with blanks in it, which is none of ours
                    found[place] = _as_vector(numbers, width)
    except OSError as error:
        raise UserError(f"dataset.args.vectors: {path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path}:{number}: expected a token and {width} numbers: {error}") from error
    if not found:
        raise UserError(
            f"dataset.args.vectors: {path} has a vector for none of the {len(places):,} tokens; expected lines "
            "such as `the 0.418 0.24968 ...`"
        )
    vectors = numpy.empty((NUM_SPECIAL + len(places), width), numpy.float32)
    vectors[:] = numpy.mean(list(found.values()), axis=0)
    vectors[list(found)] = list(found.values())
    vectors[PADDING] = 0
    share = f"{len(found):,} of {len(places):,} tokens ({len(found) / len(places):.0%})"
    return torch.from_numpy(vectors), f"{path}: vectors of {width} numbers for {share}; the others begin as their mean"


def _as_vector(numbers: Sequence[bytes], width: int) -> numpy.ndarray:
    """Float32 (width,). ValueError for anything else than so many finite numbers."""
    if len(numbers) < width:
        raise ValueError(f"found {len(numbers)}")
    values = numpy.array(numbers, numpy.float64)
    if not (abs(values) <= numpy.finfo(numpy.float32).max).all():
        raise ValueError("found nan, or one that is too large")
    return values.astype(numpy.float32)
