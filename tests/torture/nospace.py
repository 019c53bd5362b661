"""A full or failing disk: at every single write, flush, rename and link of a run, and a real one that is too small."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from pathlib import Path

from tests.torture.disk import FAILING, Disk, TornError
from tests.torture.harness import Run, Tally, start, uninterrupted
from utils.checkpoint import CheckpointError, verify_checkpoint

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
SHORT = ("trainer.epochs=2", "trainer.keep_last=1", "data_loader.num_workers=0")


def nospace(folder: Path, count: int, seed: int = 0) -> Tally:
    """count: the most operations to let fail, each with every error."""
    tally, choose = Tally(), random.Random(seed)
    expected = uninterrupted(folder / "untouched", *SHORT)
    start(folder / "counted", *SHORT, prepare=lambda: fail_at(0, 0, folder / "number")).wait()
    num_operations = len((folder / "number").read_text())
    tally.count("operations", num_operations)
    places = range(1, num_operations + 1)
    for place in sorted(choose.sample(places, min(count, num_operations))):
        for number in ERRORS:
            case = folder / f"{errno.errorcode[number]}-{place}"
            reached = folder / "reached"
            reached.write_text("")
            run = start(case, *SHORT, prepare=lambda: fail_at(place, number, reached))  # noqa: B023
            code = run.wait()
            what = f"{errno.errorcode[number]} at operation {place} ({reached.read_text()[-200:]})"
            check_failed(tally, run, code, number, what)
            tally.check_goes_on(expected, case, what, *SHORT, right="resumed")
            shutil.rmtree(case)
    small_disks(folder, tally, expected, count)
    return tally


def check_failed(tally: Tally, run: Run, code: int, number: int, what: str) -> None:
    """Exit code 1, a message with the reason, no traceback, no partial file, every checkpoint intact."""
    output = run.output()
    tally.check(code == 1, f"{what}: exit code {code}: {output[-300:]}", "exit code 1")
    tally.check(os.strerror(number) in output, f"{what}: no reason in {output[-300:]}")
    tally.check("Traceback" not in output, f"{what}: {output[-2500:]}")
    left = list(run.folder.glob("saved/**/.*.tmp"))
    tally.check(not left, f"{what}: {len(left)} partial files: {left[:1]}")
    check_checkpoints(tally, run.folder, what)


def check_checkpoints(tally: Tally, folder: Path, what: str) -> None:
    for path in folder.glob("saved/torture/2*/checkpoints/*.pt"):
        try:
            verify_checkpoint(path)
        except CheckpointError as error:
            tally.check(False, f"{what}: {error}")


def fail_at(place: int, number: int, note: Path) -> None:
    """Let the nth operation fail. The disk stays full then, while an error of the device comes once."""
    out = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    num_seen = 0

    def watch(operation: str, path: str, detail: object) -> None:
        nonlocal num_seen
        if operation not in FAILING or (operation == "mkdir" and os.path.exists(path)):
            return
        num_seen += 1
        if place == 0:
            os.write(out, b".")
        elif num_seen == place or (num_seen > place and number != errno.EIO):
            os.write(out, f"{operation} {os.path.basename(path)}; ".encode())
            is_torn = operation == "write" and num_seen == place and number != errno.EIO
            raise (TornError if is_torn else OSError)(number, os.strerror(number), path)

    Disk(str(Path.cwd() / "saved"), watch).install()


def small_disks(folder: Path, tally: Tally, expected: dict, count: int) -> None:
    """Real file systems of rising size; what did not fit goes on once there is room."""
    for number, kilobytes in enumerate(range(40, 400, 12)):
        case = folder / f"disk-{kilobytes}k"
        case.mkdir()
        if number >= count or not mounted(case, kilobytes):
            case.rmdir()
            return
        try:
            run = start(case, *SHORT)
            if run.wait() == 0:
                tally.count("small disks that sufficed")
                return
            check_failed(tally, run, run.code, errno.ENOSPC, f"disk of {kilobytes} KB")
            subprocess.run(["mount", "-o", "remount,size=50m", case], check=True)
            tally.check_goes_on(expected, case, f"disk of {kilobytes} KB", *SHORT, right="small disks")
        finally:
            subprocess.run(["umount", case], check=True)


def mounted(folder: Path, kilobytes: int) -> bool:
    """Whether a file system of this size could be mounted: it takes the rights to."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "torture", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0
