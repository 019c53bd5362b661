"""Runs that must be the same: other workers, the run's own config.yaml, fifty at once; and every config key changed."""

import itertools
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from config.schema import Config
from resuming import SAFE_TO_CHANGE
from tests.torture.harness import Run, Tally, outcome, run_folder, start, uninterrupted
from tests.torture.stop import EVERY_EPOCH, stopped_after

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
    assert start(before).wait() == 0
    expected = outcome(before)
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
        code, in_use = run.wait(300), "is in use by" in run.output()  # which one, it may not have written yet
        is_right = code == 0 or (code == 2 and in_use)
        tally.check(is_right, f"-r auto: {code} {run.output()[-500:]}", "-r auto: refused" if code else "-r auto: ran")
    tally.check_same(expected, folder / "auto", "-r auto at once")
    return tally


# Another value for every key.


# Every key of a config, with another value than in the run that is resumed.
OTHER = """\
name: other
seed: 8
device: auto
dataset:
  type: Digits
  args: {size: 77}
  split_args: {train: {size: 77}, valid: {size: 77}, test: {size: 77}}
  transforms: {train: [], eval: [RandomHorizontalFlip]}
  batch_transforms: {train: [], eval: []}
data_loader:
  {batch_size: 4, batch_size_per_device: 4, num_workers: 2, on_device: false, validation_split: 0.2,
   fold: {index: 0, of: 3}, order: {type: sequential, args: {n: 1}}, drop_last: true, skip_bad_samples: 3,
   limit_batches: 2, overfit_batches: 1}
model: {type: LeNet, args: {width: 9}}
loss: {type: MultiMarginLoss, args: {label_smoothing: 0.2}, class_weights: [1, 2, 3]}
metrics: [accuracy, top_k_accuracy]
optimizer: {type: SGD, args: {lr: 0.1}, param_groups: [{params: layers.0.*, args: {lr: 0.1}}], no_decay: false}
lr_scheduler: {type: StepLR, args: {step_size: 1}}
trainer:
  {type: GentleTrainer, args: {patience: 1}, epochs: 4, max_steps: 13, max_time: 1 hour, monitor: max val_accuracy,
   early_stop: 8, save_dir: elsewhere, save_every: 2 steps, eval_every: 2 steps, log_every: 2, keep_last: 3,
   precision: fp32, compile: true, channels_last: true, deterministic: true, accumulate_steps: 2, clip_grad_norm: 2.0,
   clip_grad_value: 2.0, ema_decay: 0.8, init_from: saved/torture/latest, freeze: [layers.0.*], loggers: [],
   tensorboard: false, progress: true, parallel: fsdp, sync_batch_norm: true, activation_checkpointing: layers,
   timeout: 1 minute, log_grad_norm: true}
"""
# What another key must say for a change to be a config at all.
BESIDES = {"trainer.max_steps": "trainer.epochs=null", "trainer.args": "trainer.type=GentleTrainer"}
# Those that are no config beside what the run's has.
REFUSED_ANYHOW = {
    "data_loader.batch_size_per_device": "expected one of them",
    "data_loader.order.args": "data_loader.order.type: missing",
}


def changes(section: type[BaseModel], values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every key of the schema by its dotted path, and its other value; lists and free mappings are one key each."""
    keys = section.model_fields
    assert values.keys() == keys.keys(), f"keys without a case, or cases without a key: {values.keys() ^ keys.keys()}"
    for name, field in keys.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from ((f"{name}.{key}", value) for key, value in changes(kind, values[name]))
        else:
            yield name, json.dumps(values[name])


CHANGES = dict(changes(Config, yaml.safe_load(OTHER)))


def is_safe(key: str) -> bool:
    return key in SAFE_TO_CHANGE


def mismatch(folder: Path, count: int, seed: int = 0) -> Tally:
    """Keys changed on resume: refused with a diff, or allowed and the run goes on. count: the most to try."""
    tally = Tally()
    stopped_after(6, folder / "stopped", EVERY_EPOCH)
    for key in sorted(random.Random(seed).sample(list(CHANGES), min(count, len(CHANGES)))):
        case = folder / key
        shutil.copytree(folder / "stopped", case, symlinks=True)
        before = snapshot(run_folder(case))
        overrides = [BESIDES.get(key, EVERY_EPOCH), f"{key}={CHANGES[key]}"]
        run = start(case, "-r", "saved/torture/latest", EVERY_EPOCH, *overrides)
        code, output = run.wait(), run.output()
        if is_safe(key):
            tally.check(code == 0, f"{key}: {code} {output[-400:]}", "allowed")
        else:
            is_told = REFUSED_ANYHOW.get(key, "but the run to resume has") in output and key.split(".")[0] in output
            tally.check(code == 2 and is_told, f"{key}: {code} {output[-400:]}", "refused")
            tally.check(snapshot(run_folder(case)) == before, f"{key}: refused, but the run folder has changed")
        tally.check("Traceback" not in output, f"{key}: {output[-800:]}")
    return tally


def snapshot(folder: Path) -> dict[str, Any]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
