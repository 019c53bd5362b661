"""Measuring: contenders one after the other, round after round, and the median of what the rounds say."""

from __future__ import annotations

import datetime
import gc
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "RESULTS.md"


class Row(NamedTuple):
    """One line of a table. value: as it is shown; must_be: what the project promises, or nothing."""

    what: str
    value: str
    must_be: str = ""
    holds: bool | None = None


class Result(NamedTuple):
    """work: what was done, sizes included; rows: what came of it."""

    work: str
    rows: list[Row]


Seconds = dict[str, list[float]]
T = TypeVar("T")
CPU_TIME = "BENCHMARKS_COUNT_CPU_TIME"  # in the environment, so that the processes of a benchmark know it too


def clock() -> float:
    """Seconds on the clock; with --cpu-time, seconds that this process and those it waited for have computed."""
    if CPU_TIME not in os.environ:
        return time.perf_counter()
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def interleaved(contenders: dict[str, Callable[[], T]], num_rounds: int, warm_up: bool = True) -> dict[str, list[T]]:
    """What each contender returns in each round; the order turns from round to round, a first round is thrown away.

    A slow spell of the machine then meets all of them, and ratios within a round survive it. None has to collect the
    garbage of the one before.
    """
    names = list(contenders)
    measured: dict[str, list[T]] = {name: [] for name in names}
    for number in range(-1 if warm_up else 0, num_rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            gc.collect()
            taken = contenders[name]()
            if number >= 0:
                measured[name].append(taken)
            print(f"  round {number + 1}: {name} {taken}", file=sys.stderr, flush=True)
    return measured


def ratio(seconds: Seconds, name: str, reference: str) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[reference], strict=True))


def difference(seconds: Seconds, name: str, reference: str) -> float:
    """The median of the rounds' differences."""
    return statistics.median(a - b for a, b in zip(seconds[name], seconds[reference], strict=True))


def timed(function: Callable[..., Any], *args: Any) -> float:
    start = clock()
    function(*args)
    return clock() - start


def in_a_process(benchmark: str, function: str, *args: Any, tree: Path = ROOT, **environment: str) -> Any:
    """What a function of a benchmark returns (plain data) when a fresh process calls it.

    tree: the checkout whose modules the benchmark's file, always this one's, is run with.
    """
    call = f"runpy.run_path({str(ROOT / 'benchmarks' / benchmark)!r} + '.py')[{function!r}](*json.loads(sys.argv[1]))"
    code = f"import json, runpy, sys; print(json.dumps({call}))"
    command = [sys.executable, "-c", code, json.dumps(args)]
    finished = subprocess.run(command, cwd=tree, env=os.environ | environment, capture_output=True, text=True)
    if finished.returncode:
        raise RuntimeError(f"{benchmark}.{function}{args}: {finished.stderr[-2000:]}")
    return json.loads(finished.stdout.splitlines()[-1])


def machine() -> str:
    import torch

    from utils.machine import cpu_model

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{cpu_model()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {device}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"{'CPU time, ' if CPU_TIME in os.environ else ''}"
        f"load {os.getloadavg()[0]:.1f}, {datetime.date.today()}"
    )


def table(name: str, result: Result) -> str:
    """The result as a section of RESULTS.md."""
    lines = [f"## {name}", "", f"{result.work}  ", f"{machine()}", ""]
    lines += ["| | measured | must be | holds |", "|---|---|---|---|"]
    for row in result.rows:
        lines.append(
            f"| {row.what} | {row.value} | {row.must_be} | {({True: 'yes', False: '**no**'}).get(row.holds, '')} |"
        )
    return "\n".join(lines) + "\n"


def keep(name: str, section: str) -> None:
    """Put a benchmark's section into RESULTS.md, in place of the one that is there."""
    text = RESULTS.read_text() if RESULTS.exists() else "# Results\n\nEach section: `python -m benchmarks NAME`.\n"
    sections = re.split(r"(?m)^(?=## )", text)
    sections = [each for each in sections if not each.startswith(f"## {name}\n")]
    head, *others = [each.rstrip() + "\n" for each in sections]
    RESULTS.write_text("\n".join([head, *sorted([*others, section])]))
