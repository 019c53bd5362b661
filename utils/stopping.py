"""Why a run ends before its plan does: a signal, or its time is up. Several processes stop at the same step."""

from __future__ import annotations

import itertools
import signal
import time

from utils.distributed import num_ranks, summed
from utils.signals import STOP_SIGNALS, StopSignals

REASONS = (*STOP_SIGNALS, "max_time")


class Stopping:
    """While entered, `reason` is the name of a signal that has come, or max_time after so many seconds; or None.

    Of several processes any may have one; it becomes the reason of all when they next `agree`.
    """

    def __init__(self, max_seconds: float | None):
        self.max_seconds = max_seconds
        self.signals = StopSignals()
        self._started = time.monotonic()
        self._agreed: str | None = None

    def __enter__(self) -> Stopping:
        self.signals.__enter__()
        self._started, self._agreed = time.monotonic(), None
        return self

    def __exit__(self, *error: object) -> None:
        self.signals.__exit__(*error)

    @property
    def reason(self) -> str | None:
        return self._own_reason() if num_ranks() == 1 else self._agreed

    def is_asked_for(self) -> bool:
        """Whether to leave what is under way; every process asks, at the same places."""
        self.agree()
        return self.reason is not None

    def agree(self, number: float = 0.0) -> float:
        """Have all processes know of what one knows; returns the sum of the numbers that they bring along."""
        if num_ranks() == 1:
            return number
        own = self._own_reason()
        number, *votes = summed(number, *(reason == own for reason in REASONS))
        self._agreed = next(itertools.compress(REASONS, votes), None)
        return number

    def _own_reason(self) -> str | None:
        if self.signals.received is not None:
            return self.signals.received.name
        is_over = self.max_seconds is not None and time.monotonic() - self._started >= self.max_seconds
        return "max_time" if is_over else None


def exit_code_after(reason: str | None) -> int:
    """0, or 128 and the number of the signal that has stopped a run."""
    return 128 + signal.Signals[reason] if reason in signal.Signals.__members__ else 0
