"""Going on with a run: its config, its checkpoint, and what must be as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from base import BaseTrainer
from base.registries import DATA_PATH
from config.load import check_config, document_from
from config.problems import ConfigError, Problem, describe, dotted, in_file_order
from config.problems import Path as KeyPath
from config.schema import Config
from config.yaml_reader import Document
from model.initial_weights import check_fit
from utils.checkpoint import open_checkpoint
from utils.checkpoint_folder import CheckpointFolder
from utils.distributed import from_main, gathered, is_main
from utils.errors import UserError
from utils.run_folder import RunFolder

logger = logging.getLogger(__name__)

# Length, place and reporting; everything else decides what the weights will be.
SAFE_TO_CHANGE = {
    *("device", "data_loader.num_workers", "data_loader.on_device"),
    "data_loader.skip_bad_samples",  # what could be read stays as it was
    *("trainer.epochs", "trainer.max_steps", "trainer.max_time", "trainer.early_stop", "trainer.save_dir"),
    *("trainer.save_every", "trainer.keep_last", "trainer.log_every", "trainer.loggers", "trainer.tensorboard"),
    "trainer.log_grad_norm",
    *("trainer.progress", "trainer.timeout", "trainer.parallel", "trainer.activation_checkpointing"),
}

DIGESTS = {"samples": "samples", "contents": "samples", "targets": "targets"}  # what each is told as

Checkpoint = tuple[Path, dict[str, Any]]  # its file, and the state in it


def config_in_checkpoint(run: RunFolder, resume: str, overrides: list[str]) -> Document:
    """The config of a run that has lost its config.yaml, with overrides laid over it."""
    if (checkpoint := find_checkpoint(run, resume)) is None:
        raise UserError(f"{run.path} has neither a config.yaml nor a checkpoint: give its config with -c")
    path, state = checkpoint
    return document_from(state["config"], str(path), overrides)


def find_checkpoint(run: RunFolder, resume: str) -> Checkpoint | None:
    """The checkpoint to go on from: the one named, or the newest that is intact; None for a run that has saved none.

    UserError for a run that has saved some, of which none can be read: to begin again would clear its logs. Of several
    processes, the main one decides.
    """
    found = _find(run, resume) if is_main() else None
    path = from_main(found and found[0])
    return found if is_main() or path is None else (path, open_checkpoint(path, verify=False))


def _find(run: RunFolder, resume: str) -> Checkpoint | None:
    named = [] if resume == "auto" else [Path(resume), run.checkpoints / Path(resume).name]
    if (path := next((path for path in named if path.is_file()), None)) is not None:
        return path, open_checkpoint(path)
    checkpoint = CheckpointFolder(run.checkpoints).newest()
    if checkpoint is None and (run.has_checkpoint or run.info().get("status") in ("finished", "stopped")):
        raise UserError(
            f"{run.path} has no intact checkpoint left to go on from, and is left as it is: "
            "bring one back, or start a new run with -c CONFIG and without -r"
        )
    return checkpoint


def check_resumable(run: RunFolder, checkpoint: Checkpoint, config: Config, document: Document) -> None:
    """Refuse a config other than the checkpoint's, and logs that cannot be gone on with, before anything is touched.

    The checkpoint's own config is what its weights came from: config.yaml is a file that anybody may edit.
    """
    path, state = checkpoint
    saved = check_config(document_from(state["config"], str(path)))
    refuse_changes(saved, config, document, data_may_move=isinstance(state.get("data"), dict))
    run.check_logs(state.get("logs"))


class _Missing:
    """Stands for a key or an item that one of two values lacks."""


def refuse_changes(run: Config, asked: Config, document: Document, data_may_move: bool) -> None:
    """ConfigError with every key in which `asked` (read from `document`) differs from the run's own config."""
    problems = []
    for path, old, new in differences(run.model_dump(), asked.model_dump()):
        is_moved = path[0] == "dataset" and path[1] in ("args", "split_args") and DATA_PATH.fullmatch(str(path[-1]))
        if not (dotted(path[:2]) in SAFE_TO_CHANGE or (is_moved and data_may_move)):
            changed = "missing" if new is _Missing else f"found {written(new)}"
            message = f"{changed}, but the run to resume has {written(old)}; leave it as it is, or start a new run"
            problems.append(Problem(document.origin(path), path, message))
    if problems:
        raise ConfigError(in_file_order(problems))


def differences(old: Any, new: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any, Any]]:
    """Where two values differ, as deep in them as it can be said: path, old and new."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from differences(old.get(key, _Missing), new.get(key, _Missing), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, items in enumerate(zip(old, new, strict=True)):
            yield from differences(*items, (*path, index))
    elif old != new or isinstance(old, bool) is not isinstance(new, bool):  # to Python, 1 is true
        yield path, old, new


def written(value: Any) -> str:
    """A value as it would be written on one line, without what is null or empty in a mapping, cut where it is long."""
    if value is _Missing:
        return "none"
    if isinstance(value, dict):
        text = ", ".join(f"{key}: {written(item)}" for key, item in value.items() if item not in (None, {}, []))
        text = f"{{{text}}}"
    elif isinstance(value, list):
        text = f"[{', '.join(map(written, value))}]"
    else:
        text = describe(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


def load_checkpoint(trainer: BaseTrainer, path: Path, state: dict[str, Any]) -> None:
    """Bring a trainer to where a checkpoint was saved. UserError when it is one of other data or another model."""
    if "data" in state:  # one of an earlier version has none
        check_same_data(path, state["data"]["fingerprint"], trainer.metadata["data"]["fingerprint"])
    check_fit(trainer.parts["model"], state["model"], path)
    trainer.load_state_dict(state)


def check_same_data(path: Path, saved: dict[str, Any], found: dict[str, Any]) -> None:
    """UserError with all in which the data differ from those that the checkpoint was trained on: two fingerprints."""
    if changes := changes_of_data(saved, found):
        remedy = "bring back the data of this run, or start a new run"
        raise UserError(f"these are not the data of {path}: {changes}; {remedy}")


def check_data_of_all(fingerprint: dict[str, Any]) -> None:
    """UserError where a process has read other data than the main one: they would train on other samples."""
    for place, found in enumerate(of_all := gathered(fingerprint)):
        if changes := changes_of_data(of_all[0], found):
            raise UserError(f"dataset: process {place} has other data than process 0: {changes}; give all the same")


def changes_of_data(saved: dict[str, Any], found: dict[str, Any]) -> str:
    """In what two fingerprints differ, as text; empty where they do not."""
    changes = []
    known = {key: value for key, value in found.items() if key in saved}  # an earlier version has fewer
    for key, old, new in differences(saved, known):
        if key[0] in DIGESTS:
            changes.append(f"other {dotted((DIGESTS[key[0]], *key[1:]))}")
        else:
            changes.append(f"{dotted(key)} {written(new)}, not {written(old)}")
    return "; ".join(dict.fromkeys(changes))[:1000]


def tell_new_rate(trainer: BaseTrainer, state: dict[str, Any]) -> None:
    """A line where a schedule that follows the run's length makes the learning rate jump, as more epochs do."""
    part = trainer.parts.get("optimizer")
    if isinstance(part, Optimizer):
        pairs = {"": (state["optimizer"], part)}
    elif isinstance(part, dict):  # several by name
        pairs = {f" of {name}": (state["optimizer"][name], optimizer) for name, optimizer in part.items()}
    else:
        return
    for whose, (saved, optimizer) in pairs.items():
        for old, new in zip(saved["param_groups"], optimizer.param_groups, strict=True):
            if float(old["lr"]) != float(new["lr"]):
                change = f"{float(new['lr']):.2e}, where it was {float(old['lr']):.2e}"
                length = f"{trainer.plan.num_epochs} epochs"
                logger.info("the learning rate%s goes on at %s: the schedule is replayed for %s", whose, change, length)
                break
