"""A language model that goes on with a text, for predict.py --prompt."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from base import DATASETS
from base.batch import Batch
from commands.answer_table import Destination
from commands.predicting import NoLoss
from trained import Trained
from utils.distributed import num_ranks
from utils.errors import UserError
from utils.machine import prepare_device
from utils.seeding import seeded_generator

UNFINISHED = "\ufffd"  # how the first bytes of a character are written until its last is there
LONGEST_CHARACTER = 4  # bytes
LEAST_TEMPERATURE = 1e-30  # below it, logits would become infinite


class LanguageModel:
    """A model of (N, T) tokens -> logits (N, vocab_size, T), and the way from text to tokens and back.

    It needs of its dataset's class `encode(text, preprocessing)` and `decode(tokens, preprocessing)`. UserError where
    it has none.
    """

    def __init__(self, trained: Trained):
        self._preprocessing = trained.preprocessing
        self._component = DATASETS.find(trained.config.dataset.type)
        if not (hasattr(self._component, "encode") and hasattr(self._component, "decode")):
            raise UserError(
                f"--prompt: dataset {trained.config.dataset.type} has no `encode` and `decode`, so this is no language "
                "model; give inputs in its place"
            )
        self._context_length = trained.data["facts"].get("context_length")
        self._device = prepare_device(trained.config.device, trained.config.trainer.deterministic)
        self._model, self._forward_pass = trained.load(self._device, None)
        self._forward_pass.loss_fn = NoLoss()
        self._model.eval()

    def encode(self, prompt: str) -> list[int]:
        """The tokens of a prompt. UserError where there are none, or some are not known from training."""
        tokens = [*self._component.encode(prompt, self._preprocessing)]
        if not tokens:
            raise UserError("--prompt: found nothing; give at least one character, such as a line's end: $'\\n'")
        again = self._decoded(tokens)
        if lacking := sorted({character for character in prompt if character not in again}):
            raise UserError(
                f"--prompt: the training text has no {', '.join(map(repr, lacking))}: the model knows nothing of them"
            )
        return tokens

    def go_on(
        self, tokens: Sequence[int], length: int, temperature: float, top_k: int | None, seed: int
    ) -> Iterator[str]:
        """Text of `length` further tokens, piece by piece: each drawn by the probabilities that the model gives it.

        temperature: divides the logits; at 0 the most probable is taken. top_k: of how many of the most probable. The
        same seed draws the same text.
        """
        tokens = [*tokens]

        def drawn() -> Iterator[int]:
            generator = seeded_generator("generate", seed)
            for _ in range(length):
                tokens.append(_drawn(self._logits(tokens), temperature, top_k, generator))
                yield tokens[-1]

        return in_whole_characters(drawn(), self._decoded)

    def _decoded(self, tokens: Sequence[int]) -> str:
        return self._component.decode(tokens, self._preprocessing)

    @torch.inference_mode()
    def _logits(self, tokens: Sequence[int]) -> Tensor:
        """Of the next token, float32 (vocab_size,) on the CPU."""
        seen = tokens if self._context_length is None else tokens[-self._context_length :]
        batch = Batch(torch.zeros(1, dtype=torch.int64), (torch.tensor([seen], device=self._device),))
        output = self._forward_pass(self._model, batch, training=False).output
        if not isinstance(output, Tensor) or output.ndim != 3 or output.shape[2] != len(seen):
            found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise UserError(
                f"--prompt: of (1, {len(seen)}) tokens the model makes {found}, not (1, vocabulary, tokens)"
            )
        return output[0, :, -1].float().cpu()


def in_whole_characters(tokens: Iterable[int], decode: Callable[[Sequence[int]], str]) -> Iterator[str]:
    """The text of tokens, as they come: what may be the beginning of a character waits for the rest of it."""
    waiting: list[int] = []
    for token in tokens:
        waiting.append(token)
        num_whole, text = len(waiting), decode(waiting)
        if text.endswith(UNFINISHED):
            places = range(len(waiting) - 1, max(-1, len(waiting) - LONGEST_CHARACTER), -1)
            num_whole = next((place for place in places if decode(waiting[:place]) + UNFINISHED == text), num_whole)
        yield decode(waiting[:num_whole])
        del waiting[:num_whole]
    yield decode(waiting)


def _drawn(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    if not logits.isfinite().all():
        raise UserError("--prompt: what the model gives is not finite")
    if temperature == 0:
        return int(logits.argmax())
    best, places = logits.topk(min(top_k or len(logits), len(logits)))
    chosen = torch.multinomial((best / max(temperature, LEAST_TEMPERATURE)).softmax(dim=0), 1, generator=generator)
    return int(places[chosen])


def write_text(trained: Trained, options: argparse.Namespace) -> None:
    """Write the prompt and how the model goes on, as it comes."""
    if num_ranks() > 1:
        raise UserError("--prompt: a text is written by one process; leave out torchrun")
    destination = Destination(options.out)
    model = LanguageModel(trained)
    tokens = model.encode(options.prompt)
    sampling = options.length, options.temperature, options.top_k, options.seed
    with destination as file:
        for piece in itertools.chain([options.prompt], model.go_on(tokens, *sampling), ["\n"]):
            file.write(piece)
            file.flush()
