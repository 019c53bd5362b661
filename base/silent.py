"""What the other processes of a run have in place of its journal and its checkpoints: the main one tells and saves."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from utils.errors import telling_of_memory

if TYPE_CHECKING:
    from base.base_trainer import BaseTrainer


def train_silently(trainer: BaseTrainer, checkpoints: Any, is_resumed: bool) -> str | None:
    """What `fit` returns, of a process other than the main one. checkpoints: where it saves its part, if any."""
    checkpoints.newest_step = trainer.step if is_resumed and trainer.is_settled else None
    with telling_of_memory(lambda: f"after step {trainer.step:,}", trainer.train_loader.batch_size):
        return trainer.fit(SilentJournal(), checkpoints)


class SilentLoggers:
    """Tells no logger of anything."""

    def log_inputs(self, step: int, inputs: Any) -> None: ...

    def log_pictures(self, step: int, name: str, pictures: Any) -> None: ...


class SilentJournal:
    """Takes what the loop hands over, as base/journal.py does, and tells nobody."""

    loggers = SilentLoggers()

    def start(self, step: int, description: str) -> None: ...

    def progress(self, step: int) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def advance(self) -> None: ...

    def log_step(self, point: Any) -> None: ...

    def log_evaluation(self, step: int, valid_scores: dict[str, float], is_best: bool) -> None: ...

    def log_epoch(self, epoch: Any) -> None: ...

    def positions(self) -> dict[str, int]:
        return {}


class NoCheckpoints:
    """Knows what the main process has saved, as utils/checkpoint_writer.py does, and writes nothing."""

    newest_step: int | None = None

    def save(self, state: dict, step: int, is_best: bool = False) -> None:
        self.newest_step = step

    def poll(self) -> None: ...

    def wait(self) -> None: ...
