"""Every config key, changed on resume: refused with a diff, or allowed and the run goes on."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path
from typing import Any

from tests.torture.changes import BESIDES, CHANGES, is_safe, keys_of
from tests.torture.harness import Tally, run_folder, start
from tests.torture.stop import EVERY_EPOCH, stop_after


def mismatch(folder: Path, count: int, seed: int = 0) -> Tally:
    """count: the most keys to try."""
    tally = Tally()
    keys = list(keys_of())
    tally.check(set(keys) == CHANGES.keys(), f"keys without a case: {set(keys) ^ CHANGES.keys()}")
    stopped = folder / "stopped"
    start(stopped, EVERY_EPOCH, prepare=lambda: stop_after(6, os.getpid())).wait()
    for key in sorted(random.Random(seed).sample(keys, min(count, len(keys)))):
        case = folder / key
        shutil.copytree(stopped, case, symlinks=True)
        before = snapshot(run_folder(case))
        changes = [f"{key}={CHANGES[key]}", *BESIDES.get(key, [])]
        run = start(case, "-r", "saved/torture/latest", EVERY_EPOCH, *changes)
        code, output = run.wait(), run.output()
        if is_safe(key):
            tally.check(code == 0, f"{key}: {code} {output[-400:]}", "allowed")
        else:
            is_told = "but the run to resume has" in output and key.split(".")[0] in output
            tally.check(code == 2 and is_told, f"{key}: {code} {output[-400:]}", "refused")
            tally.check(snapshot(run_folder(case)) == before, f"{key}: refused, but the run folder has changed")
        tally.check("Traceback" not in output, f"{key}: {output[-800:]}")
    return tally


def snapshot(folder: Path) -> dict[str, Any]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
