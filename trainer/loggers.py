"""Where scores go besides metrics.csv.

A logger is built with `folder`, the run's, and has `log(step, scores)`, `flush()` and `close()` or `close(status)`. It
may have `start(config, run)` and `log_pictures(step, pictures, name)`. What it writes into a folder of its own name,
`folder / "mylogger"`, is cut back when a run is resumed (utils/run_folder.py).
"""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from base import LOGGERS
from utils.errors import UserError
from utils.files import make_folder, naming
from utils.plain_data import values_by_key

MOST_UNWRITTEN, SECONDS_UNWRITTEN = 100, 10  # log points that wait together, and how long


@LOGGERS.register
class TensorBoard:
    """TensorBoard event files: `loss/train`, `loss/valid`, `accuracy/train`, `lr`, ... by step.

    Written by the training thread: SummaryWriter's own would fail unseen, and its queue costs more than the writing.
    Many log points at once: one by one, between steps, each takes five times as long.
    """

    def __init__(self, folder: Path):
        folder = folder / "tensorboard"
        make_folder(folder)
        self._is_new = not any(folder.glob("events.*"))  # a resumed run has told of its config before
        self.path = folder / f"events.out.tfevents.{time.time_ns()}.{platform.node()}.{os.getpid()}"
        self._file = open(self.path, "xb")  # noqa: SIM115
        self._unwritten: list[tuple[float, int, dict[str, float]]] = []  # wall time, step, scores
        self._flushed = time.monotonic()
        self._write(time.time(), file_version="brain.Event:2")

    def start(self, config: dict[str, Any], run: str) -> None:
        """Show the config in the HPARAMS tab, where TensorBoard puts the newest value of each score beside it."""
        from torch.utils.tensorboard.summary import hparams

        if self._is_new:
            _, summary, _ = hparams(hyper_parameters(config), {})
            self._write(time.time(), summary=summary)

    def log(self, step: int, scores: dict[str, float]) -> None:
        self._unwritten.append((time.time(), step, scores))
        if len(self._unwritten) >= MOST_UNWRITTEN or time.monotonic() - self._flushed > SECONDS_UNWRITTEN:
            self.flush()

    def log_pictures(self, step: int, pictures: Tensor, name: str = "inputs/train") -> None:
        """Show pictures (N, C, H, W), each stretched to its own range: they may be normalised."""
        from torch.utils.tensorboard.summary import image

        framed = nn.functional.pad(stretched(pictures), (1, 1, 1, 1), value=0.5)
        self._write(time.time(), step=step, summary=image(name, framed, dataformats="NCHW"))

    def flush(self) -> None:
        """Put all that was logged into the file."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        for wall_time, step, scores in self._unwritten:
            # One event for all scores: one each would take 25 us a score.
            values = [Summary.Value(tag=tag_of(name), simple_value=value) for name, value in scores.items()]
            self._write(wall_time, step=step, summary=Summary(value=values))
        self._unwritten.clear()
        with naming(self.path):
            self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        self.flush()
        with naming(self.path):
            self._file.close()

    def _write(self, wall_time: float, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        event = Event(wall_time=wall_time, **content)
        with naming(self.path):
            RecordWriter(self._file).write(event.SerializeToString())


def hyper_parameters(config: dict[str, Any]) -> dict[str, float | str]:
    """The values of a config by dotted keys: numbers, and all else as text; without what is null or empty."""
    there = ((key, value) for key, value in values_by_key(config) if value not in (None, []))
    return {key: value if type(value) in (int, float) else str(value) for key, value in there}


def stretched(pictures: Tensor) -> Tensor:
    """Pictures (N, C, H, W), each in [0, 1] from its own least to its own largest number."""
    low = pictures.amin(dim=(1, 2, 3), keepdim=True)
    high = pictures.amax(dim=(1, 2, 3), keepdim=True)
    return (pictures - low) / (high - low).clamp_min(1e-8)


def check_pictures(name: str, pictures: Tensor) -> None:
    """UserError unless these are pictures (N, C, H, W) with one channel or three, and a name for them."""
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w/-]{,99}", name):
        raise UserError(f"log_pictures: found the name {name!r:.120}; expected letters, digits, '_', '-' and '/'")
    if not isinstance(pictures, Tensor) or pictures.ndim != 4 or pictures.shape[1] not in (1, 3) or not len(pictures):
        what = f"shape {tuple(pictures.shape)}" if isinstance(pictures, Tensor) else type(pictures).__name__
        raise UserError(f"log_pictures({name!r}, ...): found {what}; expected pictures (N, C, H, W), C being 1 or 3")


def tag_of(name: str) -> str:
    """The tag that puts training and validation side by side: val_loss -> loss/valid, loss -> loss/train."""
    if name == "lr" or name.startswith("lr/"):
        return name
    return f"{name.removeprefix('val_')}/{'valid' if name.startswith('val_') else 'train'}"
