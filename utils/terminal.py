"""What a run shows on the terminal: a line an epoch, and a progress bar."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

logger = logging.getLogger(__name__)


class Terminal:
    """Lines for the epochs of a run, in columns, and a bar for the one under way where stderr is a terminal."""

    def __init__(self, num_epochs: int, steps_per_epoch: int, total_steps: int, progress: bool):
        self.num_epochs = num_epochs
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = total_steps
        self.show_progress = progress and sys.stderr.isatty()
        self._bar: Any = None
        self._widths: dict[str, int] = {}  # of the columns, as far as they have grown
        self._started, self._first_step = time.monotonic(), 0

    def start(self, step: int) -> None:
        """The time that is left is judged by the steps from here on."""
        self._started, self._first_step = time.monotonic(), step

    @contextlib.contextmanager
    def progress(self, step: int) -> Iterator[None]:
        """A bar over the steps of the epoch that the next step belongs to, on a terminal."""
        if self.show_progress:
            from tqdm import tqdm

            self._bar = tqdm(
                total=self.steps_per_epoch,
                initial=step % self.steps_per_epoch,
                desc=f"epoch {step // self.steps_per_epoch + 1}/{self.num_epochs}",
                unit="step",
                leave=False,
                dynamic_ncols=True,
                mininterval=0.5,  # a refresh takes 150 us
            )
        try:
            yield
        finally:
            self.close()

    def advance(self) -> None:
        """One step is done."""
        if self._bar is not None:
            self._bar.update()

    def show_loss(self, loss: float) -> None:
        """Beside the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(f"loss={loss:.4f}", refresh=False)

    def tell_scores(self, step: int, scores: Mapping[str, float]) -> None:
        """A line in the middle of an epoch."""
        told = "  ".join(f"{name} {formatted(value)}" for name, value in scores.items())
        logger.info("step %s  %s", f"{step:,}", told)

    def tell_epoch(
        self, epoch: int, step: int, scores: Mapping[str, float], lr: float, samples_per_second: float
    ) -> None:
        """The line of an epoch, in the columns of those before."""
        columns = {name: formatted(value) for name, value in scores.items()} | {"lr": f"{lr:.2e}"}
        logger.info(
            "epoch %*d/%d  %s  %s samples/s  %s left",
            len(str(self.num_epochs)),
            epoch,
            self.num_epochs,
            "  ".join(f"{name} {self._aligned(name, text)}" for name, text in columns.items()),
            self._aligned("samples/s", f"{samples_per_second:,.0f}"),
            self._aligned("left", duration(self._seconds_left(step))),
        )

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _aligned(self, column: str, text: str) -> str:
        self._widths[column] = max(len(text), self._widths.get(column, 0))
        return text.rjust(self._widths[column])

    def _seconds_left(self, step: int) -> float:
        num_done = max(1, step - self._first_step)
        return (time.monotonic() - self._started) / num_done * (self.total_steps - step)


def formatted(value: float) -> str:
    """`0.9712`: four decimals, or scientific where they say nothing."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"


def duration(seconds: float) -> str:
    """`1:02:03`, or `2:03` under an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
