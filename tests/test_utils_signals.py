"""A signal asks, and the loop decides when to stop; tests/torture shows what a second Ctrl-C does."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from utils.signals import StopSignals

NAMES = [name for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("hears_hangup")
def test_the_first_signal_sets_the_flag_and_handlers_come_back(name, capfd):
    number, stop = getattr(signal, name), StopSignals()
    before = [signal.getsignal(getattr(signal, each)) for each in NAMES]
    with pytest.raises(KeyError), stop:
        assert stop.received is None
        os.kill(os.getpid(), number)
        assert stop.received is number and stop.received.name == name
        os.kill(os.getpid(), signal.SIGTERM)
        raise KeyError
    assert stop.received is number
    assert [signal.getsignal(getattr(signal, each)) for each in NAMES] == before
    told = capfd.readouterr().err
    assert f"{name}: stopping after this step" in told and told.count("\n") == 2
    with stop:
        assert stop.received is None  # entering again forgets


def test_other_threads_have_no_signals():
    def received() -> signal.Signals | None:
        with StopSignals() as stop:
            return stop.received

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(received).result() is None


@pytest.mark.usefixtures("hears_hangup")
def test_what_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.received is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.received is signal.SIGTERM
