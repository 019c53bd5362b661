"""Look at runs: python runs.py [list|diff A B|plot A B ... -o FILE|clean]"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.run_differences import differences_among, matching, short_names, value_of
from commands.run_records import Reader, Record, find_runs, plain_value
from config.command_options import parse_runs_options
from config.problems import did_you_mean
from script import exit_code_of, tell
from utils.errors import UserError
from utils.find_run import resolve_run
from utils.terminal import duration, formatted, is_agreed

SORTS = ("name", "id", "status", "epochs", "best", "time")


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    return exit_code_of(run_command, parse_runs_options, argv)


def run_command(options: argparse.Namespace) -> int:
    command = {"list": show_list, "diff": show_difference, "plot": plot, "clean": clean}[options.command]
    return command(options)


def show_list(options: argparse.Namespace) -> int:
    runs, others = read_all(options)
    if options.sort:
        runs = in_order(runs, options.sort)
    differing = {name: differences_among(run for run in runs if run.name == name) for name in {r.name for r in runs}}
    if options.json:
        print(json.dumps([as_data(run, differing[run.name]) for run in runs], indent=2, allow_nan=False))
        return 0
    shown = {name: short_names(keys) for name, keys in differing.items()}
    rows = [cells_of(run, shown[run.name]) for run in runs]
    print_table(["run", "status", "epochs", "best", "step", "time", "differs in"], rows)
    if others:
        print(f"not runs: {', '.join(map(str, others[:5]))}{f' and {len(others) - 5} more' if others[5:] else ''}")
    return 0


def read_all(options: argparse.Namespace) -> tuple[list[Record], list[Path]]:
    """The runs that the options ask for, and folders that are none. UserError where there are none at all."""
    save_dir = Path(options.save_dir)
    if not save_dir.is_dir():
        raise UserError(f"there is no folder {save_dir}: give the one that runs are saved in with --save-dir")
    reader, (paths, others) = Reader(), find_runs(save_dir)
    runs = [reader.read(path) for path in paths]
    for key, _ in options.filters:
        check_key(runs, key, "filter")
    for key, value in options.filters:
        runs = list(matching(runs, key, value))
    if not runs:
        which = " that --filter asks for" if options.filters else ""
        raise UserError(f"{save_dir} holds no runs{which}")
    return runs, others


def check_key(runs: Sequence[Record], key: str, option: str, known: Sequence[str] = ("name", "id", "status")) -> None:
    """UserError for a key that no run has."""
    keys = [*known, *dict.fromkeys(key for run in runs for key in run.config)]
    if key not in keys:
        raise UserError(f"--{option}: no run has the key {key!r}{did_you_mean(key, keys)}")


def in_order(runs: list[Record], column: str) -> list[Record]:
    """The best first, anything else from small to large; those without a value last."""
    check_key(runs, column, "sort", SORTS)

    def place(run: Record) -> tuple:
        if column == "best":
            return (
                (1,) if run.best is None else (0, run.best.metric, run.best.value * (-1) ** (run.monitor[0] == "max"))
            )
        if column in ("epochs", "time"):
            return (0, run.epochs if column == "epochs" else run.seconds)
        if (text := value_of(run, column)) is None:
            return (1,)
        value = plain_value(text) if column in run.config else text
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return (1,) if value is None or value != value else (0, 0, value) if is_number else (0, 1, text)

    return sorted(runs, key=place)


def cells_of(run: Record, names: dict[str, str]) -> list[str]:
    """A row of the list. names: of the keys in which the runs of its name differ."""
    best = ["-", "-"] if run.best is None else [f"{run.best.metric} {formatted(run.best.value)}", f"{run.best.step:,}"]
    differs = " ".join(f"{names[key]}={run.config[key]}" for key in names if key in run.config)
    problems = "; ".join(run.problems)
    path = f"{run.path.parent.name}/{run.id}"
    return [path, run.status, run.length, *best, duration(run.seconds), "; ".join(filter(None, (problems, differs)))]


def as_data(run: Record, differing: Sequence[str]) -> dict[str, Any]:
    """A run for programs; what is nan is null."""
    best = None if run.best is None else run.best._asdict() | {"mode": run.monitor[0]}
    last = run.scores_at(-1) if run.rows else {}
    return {
        **{"path": str(run.path), "name": run.name, "id": run.id, "status": run.status, "problems": run.problems},
        **{"epochs": run.epochs, "length": run.length, "best": best, "seconds": run.seconds},
        "last": {name: _finite(value) for name, value in last.items()},
        **{key: _finite(run.info.get(key)) for key in ("started", "resumed", "ended")},
        "differs": {key: _finite(plain_value(run.config[key])) for key in differing if key in run.config},
    }


def _finite(value: Any) -> Any:
    """JSON knows neither nan nor infinity."""
    if isinstance(value, list):
        return [*map(_finite, value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(header: list[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns of text; on a terminal the last one is cut where the line ends."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for row in (header, *rows):
        line = "  ".join(text.ljust(size) for text, size in zip(row, widths, strict=True)).rstrip()
        print(f"{line[: width - 2]}.." if width and len(line) > width else line)


def show_difference(options: argparse.Namespace) -> int:
    """What two runs were made with and of, side by side, and their curves by epoch."""
    reader = Reader()
    a, b = (reader.read(resolve_run(name, options.save_dir).path) for name in options.runs)
    print_table(["", str(a.path), str(b.path)], [*compared(a, b)])
    for metric in metrics_of([a, b]):
        curves = [dict(run.curve(metric)) for run in (a, b)]
        if epochs := sorted({*curves[0], *curves[1]}):
            shown = sorted({epochs[round(i * (len(epochs) - 1) / 9)] for i in range(10)})
            print()
            rows = [[str(epoch), *(told(curve.get(epoch)) for curve in curves)] for epoch in shown]
            print_table([f"{metric}: epoch", a.id, b.id], rows)
    if options.out:
        draw([a, b], options.out)
    return 0


def compared(a: Record, b: Record) -> list[list[str]]:
    """Rows of what differs, and of what came of it."""
    rows = [[key, *(run.config.get(key, "-") for run in (a, b))] for key in differences_among([a, b])]
    made_with = [{**run.info, **(run.info.get("git") or {})} for run in (a, b)]
    for key in ("commit", "dirty", "python", "torch", "device", "device_name", "num_threads", "num_processes", "host"):
        if made_with[0].get(key) != made_with[1].get(key):
            rows.append([key, *(str(info.get(key, "-"))[:40] for info in made_with)])
    rows.append(["status", a.status, b.status])
    rows.append(["epochs", a.length, b.length])
    rows.append(["time", *(duration(run.seconds) for run in (a, b))])
    rows.append(["best", *(cells_of(run, {})[3] for run in (a, b))])
    rows.append(["at step", *(cells_of(run, {})[4] for run in (a, b))])
    last = [run.scores_at(-1) if run.rows else {} for run in (a, b)]
    rows += [[f"last {name}", *(told(scores.get(name)) for scores in last)] for name in {**last[0], **last[1]}]
    return rows + [["broken", "; ".join(a.problems), "; ".join(b.problems)]] * bool(a.problems or b.problems)


def metrics_of(runs: Sequence[Record]) -> list[str]:
    """What each of them monitors."""
    return list(dict.fromkeys(run.monitor[1] for run in runs if run.monitor))


def told(value: float | None) -> str:
    return "-" if value is None else formatted(value)


def plot(options: argparse.Namespace) -> int:
    reader = Reader()
    if options.runs:
        runs = [reader.read(resolve_run(name, options.save_dir).path) for name in options.runs]
    else:
        runs, _ = read_all(options)
    draw(runs, options.out)
    return 0


def draw(runs: list[Record], out: str) -> None:
    from utils.run_plots import MOST_RUNS, draw_runs

    for run in runs:
        if not run.rows:
            tell(f"{run.path} has no curve yet: {'; '.join(run.problems) or run.status}")
    if not (runs := [run for run in runs if run.rows]):
        raise UserError("there is nothing to draw")
    if len(runs) > MOST_RUNS:
        raise UserError(f"found {len(runs)} runs; more than {MOST_RUNS} cannot be told apart: name them, or --filter")
    names = short_names(differences_among(runs))
    labels = {}
    for run in runs:
        differs = ", ".join(f"{names[key]}={run.config.get(key, '-')}" for key in names)
        labels[f"{run.name}/{run.id}{f'  {differs}' if differs else ''}"] = run
    curves = {label: {name: run.curve(name) for name in run.scores_at(-1)} for label, run in labels.items()}
    draw_runs(curves, out)
    print(out)


def clean(options: argparse.Namespace) -> int:
    """Delete the checkpoints of finished runs but the best, after asking."""
    from utils.clean_runs import delete_all, find_superfluous

    runs, _ = read_all(options)
    found = find_superfluous([run.path for run in runs if run.status == "finished"], tell)
    num_files, size = sum(len(each.files) for each in found), sum(each.size for each in found)
    if not found:
        print("there is nothing to delete: each finished run has but its best checkpoint")
        return 0
    for each in found:
        print(f"{each.run}: {len(each.files)} checkpoints, {in_bytes(each.size)}; {each.kept.name} stays")
    print(f"in all {num_files} checkpoints, {in_bytes(size)}. A run that is resumed goes on from the one that stays.")
    otherwise = "nothing was deleted: to do so without a terminal to ask on, give --yes"
    if not options.yes and not is_agreed("delete them?", otherwise):
        print("nothing was deleted")
        return 0
    print(f"{in_bytes(delete_all(found, tell))} are free")
    return 0


def in_bytes(size: float) -> str:
    """`1.5 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


if __name__ == "__main__":
    sys.exit(main())
