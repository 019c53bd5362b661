"""The loggers of a run, told of everything together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from base.batch import ModelInputs, is_picture_batch
from base.registries import LOGGERS
from base.signature import takes
from config.schema import Config
from utils.errors import own_line_of
from utils.files import WriteError

logger = logging.getLogger(__name__)
MOST_PICTURES = 16
OPTIONAL = ("start", "log_pictures")  # methods of a logger


class Loggers:
    """TensorBoard, if it is wanted, and those that the config names, built with the run's folder.

    Each has `log(step, scores)`, `flush()`, and `close()` or `close(status)`; it may have `start(config, run)` and
    `log_pictures(step, pictures, name)`. One that fails is told of once, and gets nothing more: no run ends for it.
    """

    def __init__(self, folder: Path, config: Config):
        self.folder = folder
        self.config = config
        components = [(each.type, each.args) for each in config.trainer.loggers]
        if config.trainer.tensorboard:
            components.insert(0, ("TensorBoard", {}))
        self.loggers: list[Any] = [LOGGERS.build(name, args, folder=folder) for name, args in components]

    def start(self) -> None:
        self._tell(lambda each: each.start(self.config.model_dump(), self.folder.name), "start")

    def log(self, step: int, scores: dict[str, float]) -> None:
        if scores:
            self._tell(lambda each: each.log(step, scores), "log")

    def log_inputs(self, step: int, inputs: ModelInputs) -> None:
        """The pictures among what a model is called with, as it sees them."""
        pictures = next((x for x in (*inputs.args, *inputs.kwargs.values()) if is_picture_batch(x)), None)
        if pictures is not None and pictures.shape[1] in (1, 3):
            self.log_pictures(step, "inputs/train", pictures)

    def log_pictures(self, step: int, name: str, pictures: Tensor) -> None:
        """Pictures (N, 1 or 3, H, W), the first of them, for the loggers that can show some."""
        if not any(hasattr(each, "log_pictures") for each in self.loggers):
            return  # a GPU is waited for
        shown = pictures[:MOST_PICTURES].detach().float().cpu()

        def show(each: Any) -> None:
            each.log_pictures(step, shown, **({"name": name} if takes(each.log_pictures, "name") else {}))

        self._tell(show, "log_pictures")

    def flush(self) -> None:
        self._tell(lambda each: each.flush(), "flush")

    def close(self, status: str) -> None:
        """status: finished, stopped or failed."""
        self._tell(lambda each: each.close(*([status] if takes(each.close, "status") else [])), "close")

    def _tell(self, call: Callable[[Any], object], method: str) -> None:
        """Call those that have the method. A disk that is full is no logger's fault, and ends the run."""
        for each in [each for each in self.loggers if hasattr(each, method) or method not in OPTIONAL]:
            try:
                call(each)
            except WriteError:
                raise
            except Exception as error:  # a tracker's package has dozens of its own
                self.loggers.remove(each)
                name, reason = type(each).__name__, f"{type(error).__name__}: {str(error)[:500]}"
                message = "logger %s failed in %s() and gets nothing more: %s (at %s)"
                logger.error(message, name, method, reason, own_line_of(error))
