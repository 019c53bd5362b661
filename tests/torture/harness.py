"""Starting the real train.py, ending it, and telling whether two runs are the same.

Importing torch takes two seconds, and a torture starts hundreds of runs: this process imports everything once and
forks. The child is a process of its own, with its own signals, files and death.
"""

import atexit
import contextlib
import csv
import gc
import io
import json
import os
import re
import signal
import struct
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import train
from tests.paper import Paper
from tests.torture import experiment
from utils.checkpoint import read_checkpoint
from utils.run_folder import RunFolder

TIMING_COLUMNS = ("seconds", "samples_per_second")
OUTCOMES: dict[tuple[str, ...], dict[str, Any]] = {}  # of runs that nobody touched, by experiment and arguments
NOT_COMPARED = ("config", "epoch_seconds", "logs")  # num_workers may differ, and time passes differently


class Run:
    """A process that runs train.py in `folder`; what it prints is in `output()`."""

    def __init__(self, folder: Path, *arguments: str, prepare: Callable[[], object] = lambda: None, script=train.main):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.started = time.monotonic()
        self.code: int | None = None
        self._output = folder / f"output-{time.monotonic_ns()}.txt"
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._be_the_run(arguments, prepare, script)

    def _be_the_run(self, arguments: tuple[str, ...], prepare: Callable, script: Callable) -> None:
        code = 1
        try:
            torch.set_num_threads(1)  # makes torch's threads anew: two that found them dead would end the process
            os.setsid()
            signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup had this process ignore
            os.chdir(self.folder)
            output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for descriptor, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, output), (2, output)):
                os.dup2(file, descriptor)
            sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))  # noqa: SIM115
            prepare()
            code = script(list(arguments))
        except SystemExit as leaving:
            code = leaving.code
        except BaseException:
            traceback.print_exc()
        finally:  # what Python does at its end, without what belongs to the parent
            threading._shutdown()
            atexit._run_exitfuncs()
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            os._exit(code)

    def kill(self, with_workers: bool = True) -> None:
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if with_workers else os.kill)(self.pid, signal.SIGKILL)

    def is_running(self) -> bool:
        if self.code is None:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.seconds = time.monotonic() - self.started
                self.cpu_seconds, self.megabytes = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
        return self.code is None

    def wait(self, seconds: float = 120) -> int:
        """The exit code; -9 for a run that does not end by itself."""
        end = time.monotonic() + seconds
        while self.is_running():
            if time.monotonic() > end:
                self.kill()
            time.sleep(0.002)
        return self.code

    def output(self) -> str:
        return self._output.read_text(errors="replace") if self._output.exists() else ""


class Tally:
    """What a torture has counted, and what should not have happened."""

    def __init__(self):
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []

    def check(self, is_right: bool, what: str, right: str = "") -> bool:
        """Count `right`, or list `what` as a failure."""
        if is_right and right:
            self.counts[right] += 1
        elif not is_right:
            self.failures.append(what)
            print("FAILED", what, flush=True)
        return is_right

    def check_same(self, expected: dict[str, Any], folder: Path, what: str) -> None:
        """The run in this folder ended as if nobody had touched it."""
        try:
            different = differences(expected, outcome(folder))
        except (AssertionError, OSError, ValueError) as error:
            different = str(error)
        self.check(not different, f"{what}: differs in {different}", "bits equal")

    def check_ends(self, expected: dict[str, Any], run: Run, what: str, right: str = "") -> Run:
        """The run ends by itself, as if nobody had touched it or the runs before it in its folder."""
        if self.check(run.wait() == 0, f"{what}: {run.code} {run.output()[-500:]}", right):
            self.check_same(expected, run.folder, what)
        return run

    def check_goes_on(self, expected: dict[str, Any], folder: Path, what: str, *arguments: str, right: str = "") -> Run:
        """What is left in this folder is resumed and ends as if nobody had touched it."""
        return self.check_ends(expected, start(folder, "-r", "auto", *arguments), f"{what}, then", right)


def warm_up(folder: Path) -> None:
    """Import all that a run imports, so that the forks need not. Starts no thread, for only one survives a fork."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import torch.utils.tensorboard
    from PIL import Image

    import base.journal  # noqa: F401
    import data_loader.build  # noqa: F401
    import utils.checkpoint_writer
    import utils.plots  # noqa: F401

    Image.preinit()
    torch.set_num_threads(1)
    (folder / "torture.yaml").write_text(experiment.CONFIG)
    with contextlib.redirect_stdout(io.StringIO()):
        arguments = ["-c", str(folder / "torture.yaml"), "--dry-run", "data_loader.num_workers=0"]
        assert train.main(arguments) == 0
    matplotlib.figure.Figure = Paper  # most of a run's second would go into curves.png, which no torture looks at
    gc.collect()
    gc.freeze()  # else each fork would look for garbage among all that was imported
    assert threading.active_count() == 1


def start(folder: Path, *arguments: str, **options: Any) -> Run:
    """Train in a folder, or go on there with what a process before it left."""
    return Run(folder, *experiment.write_configs(folder), *arguments, **options)


def uninterrupted(folder: Path, *arguments: str) -> dict[str, Any]:
    """What a run that nobody touches ends with; it is run once for all tortures of a process."""
    key = (experiment.here.changes, *arguments)
    if key not in OUTCOMES:
        run = start(folder, *arguments)
        assert run.wait() == 0, run.output()
        OUTCOMES[key] = outcome(folder)
    return OUTCOMES[key]


def run_folder(folder: Path) -> Path:
    return (folder / "saved/torture/latest").resolve()


def status(folder: Path) -> str | None:
    return RunFolder(run_folder(folder)).info().get("status")


def outcome(folder: Path) -> dict[str, Any]:
    """All that must be equal: the state, the points logged, the rows of metrics.csv, the epochs in train.log."""
    run = run_folder(folder)
    state = read_checkpoint(run / "checkpoints/last.pt")
    epochs = re.findall(r"INFO +epoch=(\d+) ", (run / "train.log").read_text())
    assert epochs, f"{run / 'train.log'} tells of no epoch"
    with open(run / "metrics.csv", newline="") as file:
        rows = [{k: v for k, v in row.items() if k not in TIMING_COLUMNS} for row in csv.DictReader(file)]
    return {
        **{key: digest(value) for key, value in state.items() if key not in NOT_COMPARED},
        "points": logged_points(run / "tensorboard"),
        "rows": rows,
        "epochs": epochs,
        "status": status(folder),
    }


def differences(expected: dict[str, Any], found: dict[str, Any]) -> str:
    """In what two outcomes differ, '' where they do not."""
    return ", ".join(sorted(key for key in expected | found if expected.get(key) != found.get(key)))


def digest(value: Any) -> str:
    """sha256 of nested plain data and tensors, by their bits."""

    def bits(tensor: Tensor) -> tuple[str, list[int], str]:
        data = tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        return str(tensor.dtype), list(tensor.shape), data.hex()

    return sha256(json.dumps(value, sort_keys=True, default=bits).encode()).hexdigest()


def logged_points(folder: Path) -> list[tuple[int, str, str]]:
    """(step, tag, value) of all scores in the event files, sorted: a step logged twice is there twice.

    The config that a run began with, in the HPARAMS tab, may differ in its length.
    """
    from tensorboard.compat.proto.event_pb2 import Event

    points = []
    for path in sorted(folder.glob("*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            assert len(data) >= place + length + 16, f"{path} ends within a record"
            event = Event.FromString(data[place + 12 : place + 12 + length])
            scores = [each for each in event.summary.value if not each.tag.startswith("_hparams_/")]
            points += [(event.step, each.tag, each.SerializeToString().hex()) for each in scores]
            place += length + 16
    return sorted(points)
