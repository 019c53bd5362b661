"""SIGKILL: once at a random instant of a run, mostly inside a save, and twenty times in the same run."""

import random
import re
import shutil
import sys
import time
from multiprocessing import RawArray
from pathlib import Path
from typing import Any

from tests.torture.harness import Run, Tally, run_folder, start, uninterrupted
from utils.run_folder import RunFolder

STEPS_PER_EPOCH = 4


BEGUN, DONE, SECONDS = range(3)  # of saves: how many have begun, how many `last.pt` links to, how long these took


def start_watched(folder: Path, *arguments: str) -> tuple[Run, Any]:
    """A run and what is known of its saves, in memory that it shares with this process."""
    saves = RawArray("d", 3)
    return start(folder, *arguments, prepare=lambda: report_saves(saves)), saves


def report_saves(saves: Any) -> None:
    begun_at = 0.0

    def report(event: str, arguments: tuple) -> None:
        nonlocal begun_at
        if event == "open" and "/.step-" in str(arguments[0]) and "w" in str(arguments[1]):
            saves[BEGUN] += 1
            begun_at = time.monotonic()
        elif event == "os.rename" and str(arguments[1]).endswith("/last.pt"):
            saves[SECONDS] += time.monotonic() - begun_at
            saves[DONE] += 1

    sys.addaudithook(report)


def wait_for_save(run: Run, saves: Any, number: int) -> None:
    """Until the nth save has begun, or the run has ended."""
    while saves[BEGUN] < number and run.is_running():
        time.sleep(0.0002)


def kill(folder: Path, count: int, seed: int = 0) -> Tally:
    tally, choose = Tally(), random.Random(seed)
    expected = uninterrupted(folder / "untouched")
    probe, probed = start_watched(folder / "probe")
    assert probe.wait() == 0
    for number in range(count):
        case = folder / f"kill-{number}"
        while not kill_once(case, choose, tally, probe.seconds, probed):
            shutil.rmtree(case)
        num_workers = f"data_loader.num_workers={choose.choice([0, 1, 2])}"
        check_clean(case, tally.check_goes_on(expected, case, str(case), num_workers, right="resumed"), tally)
    is_enough = 2 * tally.counts["inside a save"] >= count or count < 20
    tally.check(is_enough, "too few of the kills were inside a save")
    return tally


def kill_once(folder: Path, choose: random.Random, tally: Tally, seconds: float, probed: Any) -> bool:
    """False when the run came to its end before the kill."""
    run, saves = start_watched(folder, f"data_loader.num_workers={choose.choice([0, 1, 1])}")
    if choose.random() < 0.8:  # inside a save, from its first to its last system call
        wait_for_save(run, saves, choose.randint(1, int(probed[DONE])))
        time.sleep(choose.uniform(0, probed[SECONDS] / probed[DONE]))
    else:
        time.sleep(choose.uniform(0, seconds))
    # A lone kill leaves the workers behind, as the kernel's does that is short of memory.
    run.kill(with_workers=choose.random() < 0.5)
    code = run.wait()
    statuses = [RunFolder(path).info().get("status") for path in folder.glob("saved/torture/2*")]
    if code != -9 or "finished" in statuses:
        return False
    saved = list(folder.glob("saved/torture/2*/checkpoints/step-*.pt"))
    is_inside = any(folder.glob("saved/torture/2*/checkpoints/.*.tmp")) or saves[BEGUN] > saves[DONE]
    tally.counts["inside a save" if is_inside else "before the first checkpoint" if not saved else "elsewhere"] += 1
    newest = max((int(path.stem.removeprefix("step-")) for path in saved), default=0)
    tally.check(newest >= saves[DONE], f"{folder}: step {saves[DONE]} had been saved, and {newest} is there")
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
    num_epochs = max(6, (2 * count + 1) // STEPS_PER_EPOCH + 1)  # a step or two between two kills
    length = f"trainer.epochs={num_epochs}"
    expected = uninterrupted(folder / "untouched", length)
    case = folder / "chain"
    arguments = [length]
    for _ in range(count):
        run, saves = start_watched(case, *arguments, f"data_loader.num_workers={choose.choice([0, 1, 2])}")
        wait_for_save(run, saves, choose.randint(1, 2))
        time.sleep(choose.uniform(0, 0.02))
        run.kill()
        tally.check(run.wait() == -9, "the run ended before the kill", "kills")
        if "going on after step" in run.output():
            tally.counts["went on from a checkpoint"] += 1
        arguments = ["-r", "auto", length]
    last = tally.check_goes_on(expected, case, "the chain", length)
    check_clean(case, last, tally)
    steps = re.findall(r"going on after step (\d+)", last.output())
    tally.counts[f"last resumed at step {steps[0] if steps else 0} of {num_epochs * STEPS_PER_EPOCH}"] += 1
    return tally
