"""A signal asks, and the loop decides when to stop; a second Ctrl-C does not wait."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from utils.signals import StopSignals

ROOT = Path(__file__).parents[1]
NAMES = [name for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGHUP") if hasattr(signal, name)]


@pytest.mark.parametrize("name", NAMES)
def test_signal_sets_the_flag(name, capfd):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with StopSignals() as stop:
        assert stop.received is None
        os.kill(os.getpid(), number)
        assert stop.received is number and stop.received.name == name
    assert stop.received is number and signal.getsignal(number) is before
    assert f"{name}: stopping after this step" in capfd.readouterr().err


def test_first_signal_counts_and_entering_again_forgets(capfd):
    stop = StopSignals()
    with stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert stop.received is signal.SIGTERM
    with stop:
        assert stop.received is None
    assert capfd.readouterr().err.count("\n") == 2


def test_handlers_come_back_after_an_error():
    before = [signal.getsignal(getattr(signal, name)) for name in NAMES]
    with pytest.raises(KeyError), StopSignals():
        raise KeyError
    assert [signal.getsignal(getattr(signal, name)) for name in NAMES] == before


def test_other_threads_have_no_signals():
    found = []

    def run():
        with StopSignals() as stop:
            found.append(stop.received)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [None]


LOOP = """
import time
from utils.signals import StopSignals
with StopSignals() as stop:
    print("ready", flush=True)
    while stop.received is None or {forever}:
        time.sleep(0.01)
print(stop.received.name)
"""


def start(forever: bool, *prefix: str) -> subprocess.Popen:
    command = [*prefix, sys.executable, "-c", LOOP.format(forever=forever)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_second_interrupt_leaves_at_once():
    process = start(True)
    process.send_signal(signal.SIGINT)
    assert process.stderr.read(1) == "\n"  # the first has been handled
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=10)
    assert process.returncode == 130 and "leaving at once" in error


def test_interrupt_after_another_signal_leaves_at_once():
    process = start(True)
    process.send_signal(signal.SIGTERM)
    assert process.stderr.read(1) == "\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130


def test_nohup_stays_ignored():
    process = start(False, "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10)[0] == "SIGTERM\n"
