"""A full or failing disk: at every single write, flush, rename and link of a run, and a real one that is too small."""

import errno
import os
import random
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

from tests.torture.disk import fail_at
from tests.torture.harness import Run, Tally, start, uninterrupted
from utils.checkpoint import CheckpointError, verify_checkpoint

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
