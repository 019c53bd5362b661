"""Going on with a run: its config, its checkpoint, and what must be as it was."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from base import BaseTrainer
from config.compare import differences, refuse_changes, written
from config.load import check_config, document_from
from config.problems import dotted
from config.schema import Config
from config.yaml_reader import Document
from model.initial_weights import check_fit
from utils.checkpoint import read_checkpoint
from utils.checkpoint_folder import CheckpointFolder
from utils.errors import UserError
from utils.run_folder import RunFolder

logger = logging.getLogger(__name__)

Checkpoint = tuple[Path, dict[str, Any]]  # its file, and the state in it


def config_in_checkpoint(run: RunFolder, resume: str, overrides: list[str]) -> Document:
    """The config of a run that has lost its config.yaml, with overrides laid over it."""
    if (checkpoint := find_checkpoint(run, resume)) is None:
        raise UserError(f"{run.path} has neither a config.yaml nor a checkpoint: give its config with -c")
    path, state = checkpoint
    return document_from(state["config"], str(path), overrides)


def find_checkpoint(run: RunFolder, resume: str) -> Checkpoint | None:
    """The checkpoint to go on from: the one named, or the newest that is intact; None for a run that has saved none.

    UserError for a run that has saved some, of which none can be read: to begin again would clear its logs.
    """
    named = [] if resume == "auto" else [Path(resume), run.checkpoints / Path(resume).name]
    if (path := next((path for path in named if path.is_file()), None)) is not None:
        return path, read_checkpoint(path)
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


def load_checkpoint(trainer: BaseTrainer, path: Path, state: dict[str, Any]) -> None:
    """Bring a trainer to where a checkpoint was saved. UserError when it is one of other data or another model."""
    if "data" in state:  # one of an earlier version has none
        check_same_data(path, state["data"], trainer.metadata["data"])
    check_fit(trainer.parts["model"], state["model"], path)
    trainer.load_state_dict(state)


def check_same_data(path: Path, saved: Any, found: dict[str, Any]) -> None:
    """UserError with all in which the data differ from those that the checkpoint was trained on."""
    changes = []
    for key, old, new in differences(saved, found):
        name = dotted(key).removeprefix("fingerprint.")
        changes.append(f"other {name}" if "targets" in key else f"{name} {written(new)}, not {written(old)}")
    if changes:
        remedy = "bring back the data of this run, or start a new run"
        raise UserError(f"these are not the data of {path}: {'; '.join(changes)[:1000]}; {remedy}")


def tell_new_rate(trainer: BaseTrainer, state: dict[str, Any]) -> None:
    """A line where a schedule that follows the run's length makes the learning rate jump, as more epochs do."""
    optimizer = trainer.parts.get("optimizer")
    if not isinstance(optimizer, Optimizer):
        return
    for old, new in zip(state["optimizer"]["param_groups"], optimizer.param_groups, strict=True):
        if float(old["lr"]) != float(new["lr"]):
            change = f"{float(new['lr']):.2e}, where it was {float(old['lr']):.2e}"
            length = f"{trainer.plan.num_epochs} epochs"
            logger.info("the learning rate goes on at %s: the schedule is replayed for %s", change, length)
            return
