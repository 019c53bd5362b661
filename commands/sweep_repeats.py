"""The same experiment on every fold, with every seed: what its scores are on average, and how far they spread."""

from __future__ import annotations

import argparse
import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy

from commands.spread import Spread, spread_of
from commands.sweeping import Sweep, Task, quiet
from config.load import check_config, read_config
from script import load_registries, tell
from utils.errors import UserError
from utils.files import write_durably
from utils.terminal import duration, formatted

SCORES_BEGIN = ("checkpoint", "step", "split", "num_samples")  # of metrics.json, before the scores
Place = tuple[int, int | None]  # a seed, and a fold of it


class Repeats(Sweep):
    """A run for each fold and seed, evaluated by test.py. Its records: runs.json, which says what is done."""

    record_name, may_grow = "repeats.yaml", ("seeds",)

    def __init__(self, options: argparse.Namespace):
        self.num_folds, self.num_seeds = options.folds, options.seeds or 1
        document = read_config(options.config, [*options.overrides, *self._fold_keys(0)])
        super().__init__(options, check_config(document, load_registries, tell))
        seeds = range(self.config.seed, self.config.seed + self.num_seeds)
        folds = range(self.num_folds) if self.num_folds else [None]
        self.places: list[Place] = [(seed, fold) for seed in seeds for fold in folds]
        self.num_runs = len(self.places)
        self.about = {"folds": self.num_folds, "seeds": self.num_seeds}

    def _fold_keys(self, index: int | None) -> list[str]:
        is_fold = self.num_folds is not None
        return [f"data_loader.fold.index={index}", f"data_loader.fold.of={self.num_folds}"] if is_fold else []

    def claim(self) -> Task | None:
        with self.locked():
            records = self._records()
            for place in self.places:
                name = _label(place)
                entry = records.get(name, {})
                if "scores" in entry or (held := self.taken(name.replace(", ", "-").replace(" ", "-"))) is None:
                    continue
                run = self.run_of(entry.get("run"))
                self._write_records({**records, name: {**entry, "run": run.path.name}})
                seed, fold = place
                return Task(name, [f"seed={seed}", *self._fold_keys(fold)], run, held)
        return None

    def do(self, task: Task) -> int:
        started = time.monotonic()
        try:
            code, trainer = self.train(task)
        except UserError as mistake:
            raise UserError(f"{task.label}: {mistake}") from mistake
        if code != 0:
            if code == 1:
                tell(f"{task.label}: failed; {task.run.path / 'train.log'} says why")
            return code
        split = self.scored_part(trainer.valid_loader is not None)
        found = _evaluated(task, split)
        with self.locked():
            records = self._records()
            self._write_records({**records, task.label: {**records[task.label], **found}})
            task.lock.path.unlink()
        scores = "  ".join(f"{name} {formatted(value)}" for name, value in found["scores"].items())
        print(f"{task.label}: {scores}  ({duration(time.monotonic() - started)}, {task.run.path})", flush=True)
        return 0

    def scored_part(self, has_validation: bool) -> str:
        from data_loader.library_splits import part_to_evaluate

        return part_to_evaluate(self.config.dataset, self.config.data_loader.fold, has_validation)

    def conclude(self, code: int) -> int:
        """Print the table of what all runs came to, and write runs.csv and predictions.csv."""
        records = self._records()
        names = {place: _label(place) for place in self.places}
        done = {place: records[name] for place, name in names.items() if "scores" in records.get(name, {})}
        self._write_runs(done)
        if len(done) < len(self.places):
            told = f"{len(done)} of {len(self.places)} runs are done; the same command again goes on with the others"
            print(told, flush=True)
            return code
        splits = {entry["split"] for entry in done.values()}
        print(f"\n{len(done)} runs, each on its {' and '.join(sorted(splits))} part")
        scores = [entry["scores"] for entry in done.values()]
        common = [name for name in scores[0] if all(name in each for each in scores)]
        runs = (self.num_folds, self.num_seeds)
        print(_table({name: spread_of([each[name] for each in scores], *runs) for name in common}))
        for line in self._notes(splits):
            print(line)
        self._write_predictions(done)
        print(f"results in {self.folder}", flush=True)
        return code

    def _notes(self, splits: set[str]) -> list[str]:
        """What the figures mean, where that is not plain."""
        notes = []
        if self.config.dataset.args.get("standardise_target"):
            notes.append("the loss is of targets that each run has standardised, not in their own unit")
        if self.config.trainer.init_from is not None:
            notes.append("trainer.init_from: what those weights were trained on may be in these samples")
        if splits != {"test"} and self.config.trainer.monitor is not None:
            notes.append("these samples have also chosen each best checkpoint: the scores are somewhat too good")
        if self.num_folds is not None and self.num_seeds > 1:
            notes.append("each seed divides the same samples: the interval is corrected as by Nadeau and Bengio (2003)")
        elif self.num_folds is not None:
            notes.append("runs on folds share most of their training data: the interval is rather short")
        elif splits == {"test"} and self.config.data_loader.fold is None:
            notes.append("the spread is that of the training alone: all runs are scored on the same samples")
        return notes

    def _records(self) -> dict[str, Any]:
        path = self.folder / "runs.json"
        try:
            return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except ValueError as error:
            raise UserError(f"{path} is damaged ({error}): delete it, and all runs are done again") from error

    def _write_records(self, records: dict[str, Any]) -> None:
        text = json.dumps(records, indent=2) + "\n"
        write_durably(self.folder / "runs.json", lambda file: file.write(text.encode()))

    def _write_runs(self, done: dict[Place, dict[str, Any]]) -> None:
        names = list(dict.fromkeys(name for entry in done.values() for name in entry["scores"]))
        columns = ("run", "split", "num_samples")
        rows = [["seed", "fold", *columns, *names]]
        for place, entry in done.items():
            rows.append([*place, *map(entry.get, columns), *map(entry["scores"].get, names)])
        _write_csv(self.folder / "runs.csv", rows)

    def _write_predictions(self, done: dict[Place, dict[str, Any]]) -> None:
        """What test.py has predicted in each run, under each other. UserError where another evaluation came after."""
        rows: list[list[Any]] = []
        for place, entry in done.items():
            path = self.parent / entry["run"] / entry["folder"] / "predictions.csv"
            if not path.exists():
                (self.folder / "predictions.csv").unlink(missing_ok=True)
                print(f"no predictions.csv: {path} is not there")
                return
            with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
                header, *found = csv.reader(file)
            if not _are_same(_results_in(path.parent), entry):
                raise UserError(
                    f"{path} is of another evaluation than the scores of this sweep: test.py has written there since; "
                    f"do it again with the best checkpoint: python test.py -r {self.parent / entry['run']}"
                )
            rows = rows or [["seed", "fold", *header]]
            rows += [[*place, *row] for row in found]
        _write_csv(self.folder / "predictions.csv", rows)


def _label(place: Place) -> str:
    seed, fold = place
    return f"seed {seed}" if fold is None else f"seed {seed}, fold {fold}"


def _evaluated(task: Task, split: str) -> dict[str, Any]:
    """What test.py says of the best checkpoint of a run; it leaves its results in the run's folder."""
    import warnings

    from test import evaluate_part, results_folder
    from trained import Trained
    from utils.find_run import resolve_checkpoint

    trained = Trained.read(resolve_checkpoint(task.run.path, prefer="best"), [])
    options = argparse.Namespace(split=split, out=None, no_report=False)
    with quiet(), warnings.catch_warnings(record=True) as caught:
        evaluate_part(trained, options)
    for told in dict.fromkeys(str(each.message) for each in caught if "torchmetrics" in each.filename):
        tell(f"{task.label}: warning: {told}")
    folder = results_folder(trained.path, split)
    return {"split": split, "folder": folder.name, **_results_in(folder)}


def _results_in(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    scores = {name: value for name, value in found.items() if name not in (*SCORES_BEGIN, "intervals", "num_resamples")}
    return {"num_samples": found["num_samples"], "scores": scores}


def _are_same(found: dict[str, Any], entry: dict[str, Any]) -> bool:
    """Whether two evaluations are of the same model and samples; on another device the last digits differ."""
    scores, before = found["scores"], entry["scores"]
    if found["num_samples"] != entry["num_samples"] or scores.keys() != before.keys():
        return False
    return numpy.allclose([*scores.values()], [*before.values()], rtol=1e-3, equal_nan=True)


def _table(spreads: dict[str, Spread]) -> str:
    rows = [["metric", "mean", "sd", "95 % interval"]]
    rows += [
        [name, formatted(its.mean), formatted(its.deviation), f"{formatted(its.low)} to {formatted(its.high)}"]
        for name, its in spreads.items()
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(map(str.rstrip, lines))


def _write_csv(path: Path, rows: list[list[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_durably(path, lambda file: file.write(text.getvalue().encode("utf-8", "surrogateescape")))
