"""Runs that must be the same: other numbers of workers, and the run's own config.yaml; and fifty at once."""

import itertools
import json
import shutil
from pathlib import Path

from tests.torture.harness import Run, Tally, run_folder, start, uninterrupted
from tests.torture.stop import stopped_after

ONE_STEP = ("trainer.epochs=null", "trainer.max_steps=1", "data_loader.num_workers=0")


def workers(folder: Path, count: int, seed: int = 0) -> Tally:
    """count: of numbers of workers to try, of 0, 1, 2 and 4."""
    tally = Tally()
    expected = uninterrupted(folder / "untouched")
    for before, after in itertools.product((0, 1, 2, 4)[:count], repeat=2):
        case = folder / f"workers-{before}-{after}"
        to = f"data_loader.num_workers={after}"
        if before == after:
            tally.check_ends(expected, start(case, to), f"{after} workers")
        else:
            stopped_after(6, case, f"data_loader.num_workers={before}")
            tally.check_goes_on(expected, case, f"{before} to {after} workers", to, right="changed")
    return tally


def replay(folder: Path, count: int, seed: int = 0) -> Tally:
    """train.py -c saved/.../config.yaml; count: times in a row, each with the config of the one before."""
    tally = Tally()
    before = folder / "first"
    expected = uninterrupted(before)
    for number in range(count):
        case = folder / f"replay-{number}"
        case.mkdir()
        shutil.copy(run_folder(before) / "config.yaml", case / "own.yaml")
        tally.check_ends(expected, Run(case, "-c", "own.yaml"), str(case))
        before = case
    return tally


def herd(folder: Path, count: int, seed: int = 0) -> Tally:
    """`count` starts at the same time, and as many of `-r auto`, which may share a run but not break it."""
    tally = Tally()
    fresh = folder / "fresh"
    runs = [start(fresh, *ONE_STEP, "trainer.tensorboard=false") for _ in range(count)]
    for run in runs:
        tally.check(run.wait(300) == 0, f"a start of {count}: {run.code} {run.output()[-500:]}", "finished")
    folders = sorted((fresh / "saved/torture").glob("2*"))
    tally.counts["folders"] += len(folders)
    tally.check(len(folders) == count, f"{count} runs have {len(folders)} folders")
    for path in folders:
        found = json.loads((path / "run.json").read_text())["status"]
        tally.check(found == "finished" and (path / "checkpoints/last.pt").exists(), f"{path}: {found}")
    newest = max(folders, key=lambda path: (path.name[:15], int(path.name[16:] or 1)))
    tally.check(run_folder(fresh) == newest, f"latest leads to {run_folder(fresh).name}, not to {newest.name}")

    expected = uninterrupted(folder / "untouched", *ONE_STEP)
    runs = [start(folder / "auto", "-r", "auto", *ONE_STEP) for _ in range(count)]
    for run in runs:
        code, in_use = run.wait(300), "is in use by process" in run.output()
        is_right = code == 0 or (code == 2 and in_use)
        tally.check(is_right, f"-r auto: {code} {run.output()[-500:]}", "-r auto: refused" if code else "-r auto: ran")
    tally.check_same(expected, folder / "auto", "-r auto at once")
    return tally
