"""What a search leaves behind: trials.csv, best.yaml, and a few lines."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from commands.sweep_space import Dimension
from config.schema import Config
from config.units import Monitor
from utils.files import write_durably
from utils.terminal import formatted


class Row(NamedTuple):
    """A trial. state: running, complete, pruned or fail; value: of a complete one; values: by key, as they were set."""

    number: int
    state: str
    value: float | None
    values: dict[str, str]
    run: str
    why: str


def best_of(rows: Sequence[Row], monitor: Monitor) -> Row | None:
    """The best of those that were trained to the end; of equal ones, the first."""
    complete = [row for row in rows if row.value is not None]
    choose = max if monitor.mode == "max" else min
    return choose(complete, key=lambda row: row.value) if complete else None


def write_results(folder: Path, rows: Sequence[Row], space: Sequence[Dimension], config: Config) -> None:
    keys, text = [each.key for each in space], io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "state", config.trainer.monitor.metric, *keys, "run", "why"])
    for row in rows:
        value = "" if row.value is None else row.value
        writer.writerow([row.number, row.state, value, *(row.values.get(key, "") for key in keys), row.run, row.why])
    write_durably(folder / "trials.csv", lambda file: file.write(text.getvalue().encode()))
    if (best := best_of(rows, config.trainer.monitor)) is not None:
        run = folder.parent / best.run
        about = f"# {config.trainer.monitor} {best.value:.6g}: trial {best.number} of {len(rows)}, {run}\n"
        text = about + (run / "config.yaml").read_text(encoding="utf-8")
        write_durably(folder / "best.yaml", lambda file: file.write(text.encode()))


def tell_best(parent: Path, rows: Sequence[Row], monitor: Monitor) -> None:
    """Print how the trials have ended, and which is the best."""
    counts = Counter(row.state for row in rows)
    told = [f"{counts[state]} {state if state != 'fail' else 'failed'}" for state in counts]
    print(f"\n{len(rows)} trials: {', '.join(told)}")
    if failed := [row for row in rows if row.state == "fail"]:
        print(f"trial {failed[0].number} failed: {failed[0].why}")
    if (best := best_of(rows, monitor)) is None:
        print("none was trained to the end: there is no best one")
        return
    print(f"best: {monitor.metric} {formatted(best.value)}, trial {best.number}")
    for key, value in best.values.items():
        print(f"  {key}={value}")
    print(f"That is the best of {len(rows)} scores on the samples that chose it, and by that too good. To know better:")
    print(f"  python test.py -r {parent / best.run}")
    print(
        f"results in {parent / 'sweep'}; python train.py -c {parent / 'sweep' / 'best.yaml'} repeats the best",
        flush=True,
    )
