"""A large table in a CSV file: how long until its training part is there, and how much memory that takes."""

from __future__ import annotations

import resource
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy

from benchmarks.harness import Result, Row, in_a_process, interleaved, ratio, timed

NUM_NUMBERS = 20  # and a category and a target: 22 columns
FLOOR = "polars.read_csv and to_numpy alone"
SMALL = "1,000 rows alone"  # what takes memory whatever the size: the code of the libraries, as it is used first


def write_table(path: Path, num_rows: int) -> None:
    """Numbers of six to eight digits, as text."""
    import polars

    generator = numpy.random.default_rng(0)
    columns: dict[str, Any] = {
        f"x{i}": (generator.standard_normal(num_rows) * 10 ** (i % 4)).round(6 - i % 4) for i in range(NUM_NUMBERS)
    }
    columns["colour"] = generator.choice(["red", "green", "blue", "black"], num_rows)
    columns["y"] = generator.standard_normal(num_rows).round(6)
    polars.DataFrame(columns).write_csv(path)


def seconds_and_megabytes(contender: str, path: str) -> tuple[float, float]:
    """Of this process: for reading alone, and by how much its peak grew beyond what it had imported."""
    import fastexcel  # noqa: F401
    import polars

    from data_loader.tables.tabular import TabularCSV

    polars.read_csv(b"x,y\n1,2\n")  # starts its threads
    before = _peak()
    if contender != FLOOR:
        seconds = timed(partial(TabularCSV, "train", "y", "regression", path))
    else:
        seconds = timed(lambda: polars.read_csv(path).drop("colour").to_numpy())
    return seconds, _peak() - before


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(rounds: int, scale: float) -> Result:
    num_rows = int(1_000_000 * scale)
    with tempfile.TemporaryDirectory() as folder:
        path, small = Path(folder) / "table.csv", Path(folder) / "small.csv"
        write_table(path, num_rows)
        write_table(small, 1000)
        files = {"ours": path, FLOOR: path, SMALL: small}
        measured = interleaved(
            {
                name: partial(in_a_process, "table", "seconds_and_megabytes", name, str(file))
                for name, file in files.items()
            },
            rounds,
        )
    seconds, megabytes = ({name: [each[i] for each in found] for name, found in measured.items()} for i in range(2))
    as_float32 = num_rows * (NUM_NUMBERS + 2) * 4 / 2**20
    taken, grown = median(seconds["ours"]), median(megabytes["ours"])
    rows = [
        Row(FLOOR, f"{median(seconds[FLOOR]):.2f} s, {median(megabytes[FLOOR]):.0f} MB"),
        Row(SMALL, f"{median(seconds[SMALL]):.2f} s, {median(megabytes[SMALL]):.0f} MB"),
        Row("the training part", f"{taken:.2f} s, {ratio(seconds, 'ours', FLOOR):.1f} x", "<= 3 s", taken <= 3),
        Row(
            "growth of the peak of memory",
            f"{grown:.0f} MB, {grown / as_float32:.2f} x the table as float32",
            "<= 1.5 x",
            grown <= 1.5 * as_float32,
        ),
    ]
    return Result(
        f"{num_rows:,} rows, 22 columns, one of them text, in a CSV file; median of {rounds} processes.", rows
    )
