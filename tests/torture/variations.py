"""Runs that must be the same: other numbers of workers, and the run's own config.yaml; and fifty at once."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from tests.torture.harness import Run, Tally, differences, outcome, run_folder, start, uninterrupted
from tests.torture.stop import stop_after

ONE_STEP = ("trainer.epochs=null", "trainer.max_steps=1", "trainer.tensorboard=false", "data_loader.num_workers=0")


def workers(folder: Path, count: int, seed: int = 0) -> Tally:
    """count: of numbers of workers to try, of 0, 1, 2 and 4."""
    tally = Tally()
    numbers = (0, 1, 2, 4)[:count]
    expected = uninterrupted(folder / "untouched")
    for number in numbers:
        case = folder / f"workers-{number}"
        run = start(case, f"data_loader.num_workers={number}")
        if tally.check(run.wait() == 0, f"{number} workers: {run.output()[-500:]}"):
            tally.check_same(expected, case, f"{number} workers")
    for before in numbers:
        for after in numbers:
            if before != after:
                case = folder / f"workers-{before}-{after}"
                start(case, f"data_loader.num_workers={before}", prepare=lambda: stop_after(6, os.getpid())).wait()
                to = f"data_loader.num_workers={after}"
                tally.check_goes_on(expected, case, f"{before} to {after} workers", to, right="changed")
    return tally


def replay(folder: Path, count: int, seed: int = 0) -> Tally:
    """train.py -c saved/.../config.yaml; count: times in a row, each with the config of the one before."""
    tally = Tally()
    expected = uninterrupted(folder / "first")
    config = run_folder(folder / "first") / "config.yaml"
    for number in range(count):
        case = folder / f"replay-{number}"
        case.mkdir()
        shutil.copy(config, case / "own.yaml")
        run = Run(case, "-c", "own.yaml")
        if tally.check(run.wait() == 0, f"{case}: {run.output()[-500:]}"):
            tally.check_same(expected, case, str(case))
        config = run_folder(case) / "config.yaml"
    return tally


def herd(folder: Path, count: int, seed: int = 0) -> Tally:
    """`count` starts at the same time, and as many of `-r auto`, which may share a run but not break it."""
    tally = Tally()
    fresh = folder / "fresh"
    runs = [start(fresh, *ONE_STEP) for _ in range(count)]
    for run in runs:
        tally.check(run.wait(300) == 0, f"a start of {count}: {run.code} {run.output()[-500:]}", "finished")
    folders = sorted((fresh / "saved/torture").glob("2*"))
    tally.count("folders", len(folders))
    tally.check(len(folders) == count, f"{count} runs have {len(folders)} folders")
    for path in folders:
        status = json.loads((path / "run.json").read_text())["status"]
        tally.check(status == "finished" and (path / "checkpoints/last.pt").exists(), f"{path}: {status}")
    newest = max(folders, key=lambda path: (path.name[:15], int(path.name[16:] or 1)))
    tally.check(run_folder(fresh) == newest, f"latest leads to {run_folder(fresh).name}, not to {newest.name}")

    together = folder / "auto"
    expected = uninterrupted(folder / "untouched", *ONE_STEP[:2], ONE_STEP[3])
    runs = [start(together, "-r", "auto", *ONE_STEP[:2], ONE_STEP[3]) for _ in range(count)]
    for run in runs:
        code, in_use = run.wait(300), "is in use by process" in run.output()
        is_right = code == 0 or (code == 2 and in_use)
        tally.check(is_right, f"-r auto: {code} {run.output()[-500:]}", "-r auto: refused" if code else "-r auto: ran")
    tally.check(not differences(expected, outcome(together)), "-r auto at once: differs")
    return tally
