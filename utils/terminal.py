"""What a run shows while it trains: a table and a bar on a terminal, and a line an epoch anywhere else."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from utils.epoch_table import EpochTable
from utils.errors import UserError

logger = logging.getLogger(__name__)


class Terminal:
    """Rows for the epochs of a run, and a bar for the one under way where stderr is a terminal.

    Each row is also a line `epoch=3 step=60 loss=0.0512 ...` for train.log, and for an output that is no terminal.
    """

    def __init__(self, num_epochs: int, steps_per_epoch: int, total_steps: int, progress: bool, monitored: str | None):
        self.num_epochs = num_epochs
        self.steps_per_epoch = steps_per_epoch
        self.total_steps = total_steps
        self.show_progress = progress and sys.stderr.isatty()
        self._bar: Any = None
        self._table = EpochTable(monitored)
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

    def tell_evaluation(self, step: int, scores: Mapping[str, float], is_best: bool) -> None:
        """A row in the middle of an epoch: so many epochs are done."""
        if scores:
            place = {"epoch": f"{step / self.steps_per_epoch:.2f}", "step": f"{step:,}"}
            self._tell({"step": step, **scores}, place | _formatted(scores), is_best)

    def tell_epoch(
        self,
        *,
        epoch: int,
        step: int,
        scores: Mapping[str, float],
        learning_rates: Mapping[str, float],
        seconds: float,
        samples_per_second: float,
        is_best: bool,
    ) -> None:
        """The row of an epoch."""
        values = {"epoch": epoch, "step": step, **scores, **learning_rates, "seconds": seconds}
        cells = {
            "epoch": f"{epoch}/{self.num_epochs}",
            "step": f"{step:,}",
            **_formatted(scores),
            **{name: f"{rate:.2e}" for name, rate in learning_rates.items()},
            "samples/s": f"{samples_per_second:,.0f}",
            "left": duration(self._seconds_left(step)),
        }
        self._tell({**values, "samples_per_second": samples_per_second}, cells, is_best)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _tell(self, values: Mapping[str, float], cells: Mapping[str, str], is_best: bool) -> None:
        texts = (f"{name}={value:{'.6g' if isinstance(value, float) else ''}}" for name, value in values.items())
        row = {"on_terminal": self._table.lines(cells, is_best, width_of_terminal())} if sys.stdout.isatty() else {}
        logger.info("%s", " ".join(texts) + " best=1" * is_best, extra=row)

    def _seconds_left(self, step: int) -> float:
        num_done = max(1, step - self._first_step)
        return (time.monotonic() - self._started) / num_done * (self.total_steps - step)


def is_agreed(question: str, otherwise: str) -> bool:
    """Whether somebody at the terminal says yes. UserError with `otherwise` where nobody is there to be asked."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise UserError(otherwise)
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        print()
        return False


def width_of_terminal() -> int:
    """Columns of the terminal on stdout, as it is now: $COLUMNS is what it was when the shell started."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80  # some tell of 0
    except OSError:
        return 80


def _formatted(scores: Mapping[str, float]) -> dict[str, str]:
    return {name: formatted(value) for name, value in scores.items()}


def formatted(value: float) -> str:
    """`0.9712`: four decimals, or scientific where they say nothing."""
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}"


def duration(seconds: float) -> str:
    """`1:02:03`, or `2:03` under an hour."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
