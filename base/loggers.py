"""The loggers of a run, told of everything together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from base.batch import ModelInputs, is_picture_batch
from base.registries import LOGGERS
from base.signature import takes
from config.schema import Config

MOST_PICTURES = 16


class Loggers:
    """TensorBoard, if it is wanted, and those that the config names, built with the run's folder.

    Each has `log(step, scores)`, `flush()`, and `close()` or `close(status)`; it may have `start(config, run)` and
    `log_pictures(step, pictures, name)`.
    """

    def __init__(self, folder: Path, config: Config):
        self.folder = folder
        self.config = config
        components = [(each.type, each.args) for each in config.trainer.loggers]
        if config.trainer.tensorboard:
            components.insert(0, ("TensorBoard", {}))
        self.loggers: list[Any] = [LOGGERS.build(name, args, folder=folder) for name, args in components]

    def start(self) -> None:
        for each in self.loggers:
            if hasattr(each, "start"):
                each.start(self.config.model_dump(), self.folder.name)

    def log(self, step: int, scores: dict[str, float]) -> None:
        for each in self.loggers if scores else ():
            each.log(step, scores)

    def log_inputs(self, step: int, inputs: ModelInputs) -> None:
        """The pictures among what a model is called with, as it sees them."""
        pictures = next((x for x in (*inputs.args, *inputs.kwargs.values()) if is_picture_batch(x)), None)
        if pictures is not None and pictures.shape[1] in (1, 3):
            self.log_pictures(step, "inputs/train", pictures)

    def log_pictures(self, step: int, name: str, pictures: Tensor) -> None:
        """Pictures (N, 1 or 3, H, W), the first of them, for the loggers that can show some."""
        for each in self.loggers:
            if hasattr(each, "log_pictures"):
                named = {"name": name} if takes(each.log_pictures, "name") else {}
                each.log_pictures(step, pictures[:MOST_PICTURES].detach().float().cpu(), **named)

    def flush(self) -> None:
        for each in self.loggers:
            each.flush()

    def close(self, status: str) -> None:
        """status: finished, stopped or failed."""
        for each in self.loggers:
            each.close(*([status] if takes(each.close, "status") else []))
