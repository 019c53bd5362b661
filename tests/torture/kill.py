"""SIGKILL: once at a random instant of a run, mostly inside a save, and twenty times in the same run."""

from __future__ import annotations

import os
import random
import re
import select
import shutil
import sys
import time
from pathlib import Path

from tests.torture.harness import Run, Tally, run_folder, start, uninterrupted
from utils.run_folder import RunFolder

STEPS_PER_EPOCH = 4


class Watched:
    """A run that tells when a save begins and when `last.pt` has been linked to what it wrote."""

    def __init__(self, folder: Path, *arguments: str):
        self.events, write_end = os.pipe()
        self.run = start(folder, *arguments, prepare=lambda: report_saves(write_end))
        os.close(write_end)
        self.num_begun = self.num_done = 0
        self.begun_at = self.seconds_saving = 0.0

    def wait_for_save(self, number: int) -> bool:
        """Whether the nth save has begun; False when the run ends before."""
        while self.num_begun < number and select.select([self.events], [], [], 60)[0]:
            if not self._read():
                return False
        return self.num_begun >= number

    def finish(self, seconds: float = 120) -> int:
        code = self.run.wait(seconds)
        while self._read():
            pass
        os.close(self.events)
        return code

    def _read(self) -> bool:
        event = os.read(self.events, 1)
        if event == b"b":
            self.num_begun += 1
            self.begun_at = time.monotonic()
        elif event == b"d":
            self.num_done += 1
            self.seconds_saving += time.monotonic() - self.begun_at
        return bool(event)


def report_saves(pipe: int) -> None:
    def report(event: str, arguments: tuple) -> None:
        if event == "open" and "/.step-" in str(arguments[0]) and "w" in str(arguments[1]):
            os.write(pipe, b"b")
        elif event == "os.rename" and str(arguments[1]).endswith("/last.pt"):
            os.write(pipe, b"d")

    sys.addaudithook(report)


def kill(folder: Path, count: int, seed: int = 0) -> Tally:
    tally, choose = Tally(), random.Random(seed)
    expected = uninterrupted(folder / "untouched")
    probe = Watched(folder / "probe")
    probe.wait_for_save(1000)  # to its end
    assert probe.finish() == 0
    for number in range(count):
        case = folder / f"kill-{number}"
        while not kill_once(case, choose, tally, probe):
            shutil.rmtree(case)
        num_workers = f"data_loader.num_workers={choose.choice([0, 1, 2])}"
        check_clean(case, tally.check_goes_on(expected, case, str(case), num_workers, right="resumed"), tally)
    is_enough = 2 * tally.counts["inside a save"] >= count or count < 20
    tally.check(is_enough, "too few of the kills were inside a save")
    return tally


def kill_once(folder: Path, choose: random.Random, tally: Tally, probe: Watched) -> bool:
    """False when the run came to its end before the kill."""
    run = Watched(folder, f"data_loader.num_workers={choose.choice([0, 1, 1])}")
    if choose.random() < 0.8:  # inside a save, from its first to its last system call
        run.wait_for_save(choose.randint(1, probe.num_done))
        time.sleep(choose.uniform(0, probe.seconds_saving / probe.num_done))
    else:
        time.sleep(choose.uniform(0, probe.run.seconds))
    # A lone kill leaves the workers behind, as the kernel's does that is short of memory.
    run.run.kill(with_workers=choose.random() < 0.5)
    code = run.finish()
    statuses = [RunFolder(path).info().get("status") for path in folder.glob("saved/torture/2*")]
    if code != -9 or "finished" in statuses:
        return False
    saved = list(folder.glob("saved/torture/2*/checkpoints/step-*.pt"))
    is_inside = any(folder.glob("saved/torture/2*/checkpoints/.*.tmp")) or run.num_begun > run.num_done
    tally.count("inside a save" if is_inside else "before the first checkpoint" if not saved else "elsewhere")
    newest = max((int(path.stem.removeprefix("step-")) for path in saved), default=0)
    tally.check(newest >= run.num_done, f"{folder}: step {run.num_done} had been saved, and {newest} is there")
    return True


def check_clean(folder: Path, run: Run, tally: Tally) -> None:
    """Nothing lost, nothing left over, one folder."""
    runs = list((folder / "saved/torture").glob("2*"))
    tally.check(len(runs) == 1, f"{folder}: {len(runs)} run folders")
    # `.latest` is in a folder that other runs share: the next run sweeps it, a minute later.
    left = [path for path in folder.glob("saved/**/.*.tmp") if not path.name.startswith(".latest")]
    tally.check(not left, f"{folder}: temporary files are left: {left}")
    for name in ("last.pt", "best.pt"):
        tally.check((run_folder(folder) / "checkpoints" / name).exists(), f"{folder}: {name} leads to nothing")
    tally.check("Traceback" not in run.output(), f"{folder}: traceback: {run.output()[-500:]}")


def chain(folder: Path, count: int, seed: int = 0) -> Tally:
    """One run, killed `count` times on its way."""
    tally, choose = Tally(), random.Random(seed)
    num_epochs = max(10, (2 * count + 1) // STEPS_PER_EPOCH + 1)  # a step or two between two kills
    length = f"trainer.epochs={num_epochs}"
    expected = uninterrupted(folder / "untouched", length)
    case = folder / "chain"
    arguments = [length]
    for _ in range(count):
        run = Watched(case, *arguments, f"data_loader.num_workers={choose.choice([0, 1, 2])}")
        run.wait_for_save(choose.randint(1, 2))
        time.sleep(choose.uniform(0, 0.02))
        run.run.kill()
        tally.check(run.finish() == -9, "the run ended before the kill", "kills")
        if "going on after step" in run.run.output():
            tally.count("went on from a checkpoint")
        arguments = ["-r", "auto", length]
    last = tally.check_goes_on(expected, case, "the chain", length)
    check_clean(case, last, tally)
    steps = re.findall(r"going on after step (\d+)", last.output())
    tally.count(f"last resumed at step {steps[0] if steps else 0} of {num_epochs * STEPS_PER_EPOCH}")
    return tally
