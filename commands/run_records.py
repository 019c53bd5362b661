"""What the folders of many runs say, read frugally and without torch: for runs.py."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from config.problems import ConfigError, dotted
from config.yaml_reader import read_text, resolve_scalar
from config.yaml_writer import paths_by_line, write_yaml
from utils.run_folder import RunFolder, runs_in

FILES = ("run.json", "config.yaml", "metrics.csv", "checkpoints", ".lock")  # a folder with one of them is a run
NOT_RUNS = ("profile", "sweep")  # what --profile and sweep.py leave beside runs
STATUSES = ("running", "finished", "stopped", "failed")
LEAST_COLUMNS = ("epoch", "step", "lr", "seconds", "samples_per_second")  # of metrics.csv


class Score(NamedTuple):
    """A value of a metric, after so many steps."""

    metric: str
    value: float
    step: int


@dataclass
class Record:
    """A run as its files tell of it. config: values as they are written, by dotted key; problems: what is broken."""

    path: Path
    name: str
    status: str = ""
    config: dict[str, str] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)  # run.json
    columns: list[str] = field(default_factory=list)  # of metrics.csv
    rows: list[list[str]] = field(default_factory=list)
    best: Score | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def monitor(self) -> tuple[str, str] | None:
        """min or max, and the metric."""
        mode, _, metric = self.config.get("trainer.monitor", "").partition(" ")
        return (mode, metric) if metric else None

    @property
    def epochs(self) -> int:
        """Those that metrics.csv has a row of."""
        return len(self.rows)

    @property
    def length(self) -> str:
        """How much of it is done: `3/30` epochs, or `60/1000 steps`."""
        epochs, steps = (self.config.get(f"trainer.{key}", "null") for key in ("epochs", "max_steps"))
        if steps != "null":
            return f"{self.rows[-1][self.columns.index('step')] if self.rows else 0}/{steps} steps"
        return f"{self.epochs}/{epochs}" if epochs != "null" else str(self.epochs)

    @property
    def seconds(self) -> float:
        """What its epochs have taken, without the time in which it was interrupted."""
        return sum(value for _, value in self.curve("seconds"))

    def curve(self, column: str) -> list[tuple[int, float]]:
        """Epoch and value, for each epoch that has one."""
        if column not in self.columns:
            return []
        place = self.columns.index(column)
        return [(int(row[0]), float(row[place])) for row in self.rows if row[place]]

    def scores_at(self, row: int) -> dict[str, float]:
        """The scores of a row of metrics.csv."""
        names = [name for name in self.columns if name not in LEAST_COLUMNS]
        return {name: float(cell) for name in names if (cell := self.rows[row][self.columns.index(name)])}


class Reader:
    """Reads runs one after the other; it knows the shapes of the configs so far."""

    def __init__(self):
        self._keys_by_shape: dict[tuple[str, ...], list[str]] = {}

    def read(self, path: Path) -> Record:
        """Everything but its checkpoints. What is damaged or missing is in `problems`."""
        run = Record(path, name=path.parent.name)
        for part in (self._read_info, self._read_config, _read_metrics, _find_best):
            try:
                part(run)
            except (OSError, ValueError, yaml.YAMLError) as error:
                run.problems.append(str(error).splitlines()[0][:200])
        return run

    def _read_info(self, run: Record) -> None:
        """run.json, which says `running` of a run that was killed; its lock is free then."""
        folder, run.status = RunFolder(run.path), "broken"
        os.listdir(run.path)  # OSError where it may not be read
        run.info = folder.info()
        if is_dead := run.info.get("status") == "running" and not folder.is_in_use():
            run.info = folder.info()  # it may have ended between the two looks
        status = run.info.get("status")
        run.status = "interrupted" if is_dead and status == "running" else status if status in STATUSES else "broken"
        if run.status == "broken":
            if folder.is_in_use():
                run.status = "starting"
            elif (run.path / "run.json").exists():
                raise ValueError("run.json is damaged")
            else:
                raise ValueError("no run.json")

    def _read_config(self, run: Record) -> None:
        if not (file := run.path / "config.yaml").exists():
            raise ValueError("no config.yaml")
        try:
            run.config = self.flat(file.read_text(encoding="utf-8"))
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f"config.yaml is damaged: {error}") from error
        run.name = str(plain_value(run.config.get("name", run.name)))

    def flat(self, text: str) -> dict[str, str]:
        """A config as values by their dotted keys. Texts that differ in values alone are parsed once: it takes 4 ms."""
        lines = [line.partition(": ") for line in text.splitlines()]
        shape = tuple(before for before, _, _ in lines)
        if shape not in self._keys_by_shape:
            text = _one_value_a_line(text)
            lines = [line.partition(": ") for line in text.splitlines()]
            shape = tuple(before for before, _, _ in lines)
            paths = dict(paths_by_line(yaml.compose(text, Loader=yaml.SafeLoader), ()))
            self._keys_by_shape[shape] = [dotted(paths.get(number, ())) for number in range(len(lines))]
        keys = self._keys_by_shape[shape]
        # An item of a list, `- 5`, has no key before it.
        values = (after if colon else before.strip().removeprefix("- ") for before, colon, after in lines)
        return {key: value for key, value in zip(keys, values, strict=True) if key}


def _one_value_a_line(text: str) -> str:
    """The text as the program writes it: somebody may have edited it."""
    data, _, problems = read_text(text, "config.yaml")
    if problems:
        raise ConfigError(problems)
    if not isinstance(data, dict):
        raise ValueError("it is no mapping")
    return write_yaml(data)


def _read_metrics(run: Record) -> None:
    """metrics.csv without the csv module of utils/logs.py, which takes longer than all else."""
    file = run.path / "metrics.csv"
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    header, *lines = text.split("\n") if text else ("",)
    columns = header.split(",")
    if not text:
        return
    if not lines or not {*LEAST_COLUMNS} <= {*columns}:
        raise ValueError("metrics.csv is damaged: its first line does not name the columns")
    run.columns, run.rows = columns, [line.split(",") for line in lines[:-1]]
    is_whole = all(len(row) == len(columns) for row in run.rows)
    if not is_whole or (lines[-1] and run.status != "running"):  # which may be about to write the rest
        run.rows = [row for row in run.rows if len(row) == len(columns)]
        raise ValueError("metrics.csv is damaged: a line is cut short")
    try:
        for row in run.rows:
            [*map(int, row[:2]), *map(float, filter(None, row[2:]))]
    except ValueError as error:
        run.rows = []
        raise ValueError(f"metrics.csv is damaged: {error}") from error


def _find_best(run: Record) -> None:
    """The best value of what is monitored, where training saw it: train.log marks that row, and those before, `best=1`.

    metrics.csv has it with all digits where it was at the end of an epoch, and tells of no evaluation before that.
    """
    if run.monitor is None:
        return
    (mode, metric), log, found = run.monitor, run.path / "train.log", {}
    if metric in run.columns:
        place, step = run.columns.index(metric), run.columns.index("step")
        found = {int(row[step]): float(row[place]) for row in run.rows if row[place]}
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if marked := re.findall(r" step=(\d+)( .*) best=1$", text, re.MULTILINE):
        step, scores = int(marked[-1][0]), dict(word.partition("=")[::2] for word in marked[-1][1].split())
        known = {step: float(scores[metric])} if metric in scores else {}  # within epochs, no training score is told
        found = {step: found[step]} if known and step in found else known
    elif run.config["trainer.eval_every"].endswith(("step", "steps")):
        return
    finite = [(step, value) for step, value in found.items() if math.isfinite(value)]
    if finite:
        step, value = (max if mode == "max" else min)(finite, key=lambda pair: pair[1])  # of equal ones, the first
        run.best = Score(metric, value, step)


def find_runs(save_dir: Path) -> tuple[list[Path], list[Path]]:
    """The folders of all runs, by name and the newest last; and other folders that lie among them."""
    runs, others = [], []
    for parent in sorted(path for path in save_dir.iterdir() if path.is_dir() and not path.is_symlink()):
        if _is_run(parent):
            runs.append(parent)
            continue
        try:
            folders = [path for path in sorted(parent.iterdir()) if path.is_dir() and not path.is_symlink()]
        except PermissionError:
            others.append(parent)
            continue
        named = runs_in(parent)
        renamed = [path for path in folders if path not in named and (path.name not in NOT_RUNS or _is_run(path))]
        found = [*named, *filter(_is_run, renamed)]
        runs += found
        others += [path for path in renamed if path not in found] or ([] if found else [parent])
    return runs, others


def _is_run(path: Path) -> bool:
    return any(os.path.exists(path / name) for name in FILES)  # False where it may not be read


def plain_value(text: str) -> Any:
    """A value of a config as data; as its text, where it is no YAML."""
    if text[:1] not in tuple("[{\"'"):
        return resolve_scalar(text)  # a hundred times as fast
    try:
        return read_text(text, "").data
    except ConfigError:
        return text
