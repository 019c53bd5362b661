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


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_after_another_signal_leaves_at_once(first):
    process = start(True)
    process.send_signal(first)
    assert process.stderr.read(1) == "\n"  # the first has been handled
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=10)
    assert process.returncode == 130 and "leaving at once" in error


def test_nohup_stays_ignored():
    process = start(False, "nohup")
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10)[0] == "SIGTERM\n"
