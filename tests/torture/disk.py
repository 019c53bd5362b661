"""A full or failing disk: at every single write, flush, rename and link of a run, and a real one that is too small.

Our code is left as it is. What is replaced are `open` and the functions of `os` that change something, so whatever
the program or a library writes goes through here.
"""

import builtins
import errno
import io
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.torture.harness import Run, Tally, start, uninterrupted
from utils.checkpoint import CheckpointError, verify_checkpoint

WRITING = frozenset("wax+")
# Those that a full or broken disk refuses.
FAILING = ("open", "write", "fsync", "replace", "symlink", "link", "mkdir")
FUNCTIONS = ("replace", "rename", "link", "symlink", "unlink", "remove", "mkdir", "rmdir", "truncate")
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
SHORT = ("trainer.epochs=2", "trainer.keep_last=1", "data_loader.num_workers=0")


def nospace(folder: Path, count: int, seed: int = 0) -> Tally:
    """count: the most operations to let fail, each with every error."""
    tally, choose = Tally(), random.Random(seed)
    expected = uninterrupted(folder / "untouched", *SHORT)
    saved, note = Path("saved"), folder / "operations"
    start(folder / "counted", *SHORT, prepare=partial(fail_at, saved, 0, errno.EIO, note)).wait()
    num_operations = len(note.read_text().splitlines())
    tally.counts["operations"] += num_operations
    for place in sorted(choose.sample(range(1, num_operations + 1), min(count, num_operations))):
        for number in ERRORS:
            case = folder / f"{errno.errorcode[number]}-{place}"
            run = start(case, *SHORT, prepare=partial(fail_at, saved, place, number, note))
            run.wait()
            failed = "; ".join(note.read_text().splitlines()[place - 1 : place + 9])
            what = f"{errno.errorcode[number]} at operation {place} ({failed})"
            check_failed(tally, run, number, what)
            tally.check_goes_on(expected, case, what, *SHORT, right="resumed")
            shutil.rmtree(case)
    small_disks(folder, tally, expected, count)
    return tally


def check_failed(tally: Tally, run: Run, number: int, what: str) -> None:
    """Exit code 1, a message with the reason, no traceback, no partial file, every checkpoint intact."""
    output = run.output()
    tally.check(run.code == 1, f"{what}: exit code {run.code}: {output[-300:]}", "exit code 1")
    tally.check(os.strerror(number) in output, f"{what}: no reason in {output[-300:]}")
    tally.check("Traceback" not in output, f"{what}: {output[-2500:]}")
    left = list(run.folder.glob("saved/**/.*.tmp"))
    tally.check(not left, f"{what}: {len(left)} partial files: {left[:1]}")
    for path in run.folder.glob("saved/torture/2*/checkpoints/*.pt"):
        try:
            verify_checkpoint(path)
        except CheckpointError as error:
            tally.check(False, f"{what}: {error}")


def small_disks(folder: Path, tally: Tally, expected: dict[str, Any], count: int) -> None:
    """Real file systems of rising size; what did not fit goes on once there is room."""
    for kilobytes in range(40, 400, 12)[:count]:
        case = folder / f"disk-{kilobytes}k"
        case.mkdir()
        if not mounted(case, kilobytes):
            return
        try:
            run = start(case, *SHORT)
            if run.wait() == 0:
                tally.counts["small disks that sufficed"] += 1
                return
            check_failed(tally, run, errno.ENOSPC, f"disk of {kilobytes} KB")
            subprocess.run(["mount", "-o", "remount,size=50m", case], check=True)
            tally.check_goes_on(expected, case, f"disk of {kilobytes} KB", *SHORT, right="small disks")
        finally:
            subprocess.run(["umount", case], check=True)


def mounted(folder: Path, kilobytes: int) -> bool:
    """Whether a file system of this size could be mounted: it takes the rights to."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "torture", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


# Between Python and the file system.


class Disk:
    """`install` it once, in a process that is about to run.

    watch: called before each operation with its name, its path and the data or second path it is about; what it
    raises is what the operation fails with. A write of which only a part is to arrive: raise `TornError`.
    """

    def __init__(self, folder: str, watch: Callable[[str, str, Any], object]):
        self.folder = os.path.abspath(folder)
        self.watch = watch
        self._real_open = io.open
        self._lock = threading.RLock()

    def install(self) -> None:
        builtins.open = io.open = self._open
        for name in FUNCTIONS:
            setattr(os, name, partial(self._call, name, getattr(os, name)))
        os.fsync = partial(self._fsync, os.fsync)

    def is_ours(self, path: Any) -> bool:
        return not isinstance(path, int) and os.path.abspath(os.fsdecode(path)).startswith(self.folder + os.sep)

    def say(self, operation: str, path: Any, detail: Any = None) -> None:
        with self._lock:
            self.watch(operation, os.path.abspath(os.fsdecode(path)), detail)

    def _open(self, path: Any, mode: str = "r", buffering: int = -1, encoding=None, errors=None, newline=None, **more):
        if not (WRITING & set(mode) and self.is_ours(path)):
            return self._real_open(path, mode, buffering, encoding, errors, newline, **more)
        self.say("open", path, mode)
        raw = WatchedFile(path, mode.replace("b", "").replace("t", ""), self)
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def _call(self, name: str, function: Callable, *arguments: Any, **more: Any) -> Any:
        if self.is_ours(arguments[0]) or (len(arguments) > 1 and self.is_ours(arguments[1])):
            path, detail = (*arguments, None)[:2]
            if name == "symlink":
                path, detail = detail, os.fspath(path)  # the text that it holds
            elif isinstance(detail, (str, os.PathLike)):
                detail = os.path.abspath(detail)
            self.say({"rename": "replace", "remove": "unlink"}.get(name, name), path, detail)
        return function(*arguments, **more)

    def _fsync(self, function: Callable, descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if self.is_ours(path):
            self.say("fsync", path)
        function(descriptor)


class TornError(OSError):
    """A write that fails after half of the data has arrived."""


class WatchedFile(io.FileIO):
    def __init__(self, path: Any, mode: str, disk: Disk):
        super().__init__(path, mode)
        self._disk = disk

    def write(self, data: Any) -> int:
        try:
            self._disk.say("write", self.name, (self.tell(), bytes(data)))
        except TornError:
            if len(data) > 1:  # as a full disk does: what fits is written, and the rest fails at the next call
                return super().write(memoryview(data)[: len(data) // 2])
            raise
        return super().write(data)

    def truncate(self, size: int | None = None) -> int:
        self._disk.say("truncate", self.name, self.tell() if size is None else size)
        return super().truncate(size)


KILLED = 0  # in place of the number of an error


def fail_at(folder: Path, place: int, number: int, note: Path) -> None:
    """Let the nth operation below a folder fail with an error, or kill this process there; place 0: none of them.

    The disk stays full then, its first write torn in half, while an error of the device comes once.
    note: each operation is a line of this file.
    """
    out = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    counted = {*FAILING, "unlink"} if number == KILLED else {*FAILING}
    num_seen = 0

    def watch(operation: str, path: str, detail: object) -> None:
        nonlocal num_seen
        if operation not in counted or (operation == "mkdir" and os.path.exists(path)):
            return
        num_seen += 1
        os.write(out, f"{operation} {os.path.basename(path)}\n".encode())
        if place and number != KILLED and (num_seen == place or (num_seen > place and number != errno.EIO)):
            is_torn = operation == "write" and num_seen == place and number != errno.EIO
            raise (TornError if is_torn else OSError)(number, os.strerror(number), path)
        if num_seen == place:
            os.kill(os.getpid(), signal.SIGKILL)

    Disk(str(folder), watch).install()
