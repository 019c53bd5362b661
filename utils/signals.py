"""Signals that ask a run to stop: they set a flag, and the loop ends its step, saves and leaves."""

import os
import signal
import threading
from types import FrameType

from utils.distributed import is_main, num_ranks

CLEAR_LINE = b"\r\x1b[K"  # of a terminal: a progress bar may stand there
STOP_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP")  # Windows has the first two


class StopSignals:
    """While entered, `received` is the first of these signals to come; a SIGINT after it leaves at once, with 130.

    Does nothing outside the main thread, where Python has no signals. What nohup ignores stays ignored.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopSignals":
        self.received = None
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in STOP_SIGNALS if hasattr(signal, name)):
                if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if num_ranks() > 1:  # torchrun asks the others to end as soon as one has: they are about to, with all written
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Nothing here may take a lock or use a buffered stream: the main thread may hold it at this very moment.
        if self.received is not None and number == signal.SIGINT:
            os.write(2, b"\nleaving at once\n")
            os._exit(128 + number)
        if self.received is None:
            self.received = signal.Signals(number)
            if is_main():
                told = f"{self.received.name}: stopping after this step; Ctrl-C to leave at once\n"
                os.write(2, (CLEAR_LINE if os.isatty(2) else b"\n") + told.encode())
