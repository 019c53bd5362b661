"""A benchmark for this checkout and for another one in turn, round by round."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.harness import ROOT, Result, Row, in_a_process, interleaved

NAMES = ("epoch-mnist", "epoch-cifar", "overhead", "startup", "checkpoint", "evaluation")


def run(name: str, other: str, rounds: int, scale: float) -> Result:
    """other: a folder, or a commit of this repository. Each of these benchmarks has a function `ours(scale)`.

    That is run with the modules of either checkout, so it, and its file at the top, may use only what both have.
    """
    with _checkout(other) as tree:
        trees = {"this checkout": ROOT, other: tree}
        measured = interleaved(
            {which: partial(in_a_process, name.replace("-", "_"), "ours", scale, tree=trees[which]) for which in trees},
            rounds,
        )
    rows = []
    for what in measured[other][0]:
        own, others = ([seconds[what] for seconds in measured[which]] for which in trees)
        ratios = sorted(a / b for a, b in zip(own, others, strict=True))
        shown = f"{median(own):.3g} s, {median(ratios):.3f} x ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        rows += [Row(f"{what}, {other}", f"{median(others):.3g} s"), Row(f"{what}, this checkout", shown)]
    return Result(f"This checkout against {other}, median of {rounds} rounds.", rows)


@contextmanager
def _checkout(name: str) -> Iterator[Path]:
    if Path(name).is_dir():
        yield Path(name).resolve()
        return
    packed = subprocess.run(["git", "archive", name], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)
