"""Which run, and which of its checkpoints, a command line names."""

import os
from pathlib import Path

from utils.errors import UserError
from utils.run_folder import RunFolder, newest_of, parent_of_runs, runs_in


def resolve_run(reference: str | Path, save_dir: str | Path = "saved", name: str = "") -> RunFolder | None:
    """The run that `-r` names: its folder, saved/<name> (its newest run), or the path of one of its checkpoints.

    `auto`: the newest usable run of `name` that is not finished, None without one. UserError where nothing is found.
    """
    if str(reference) == "auto":
        if not name:
            raise UserError("auto finds the newest unfinished run of a config: say which with -c")
        runs = [RunFolder(path) for path in runs_in(parent_of_runs(save_dir, name))]
        unfinished = (run for run in reversed(runs) if run.info().get("status") != "finished")
        return next((run for run in unfinished if run.is_usable), None)
    path = _existing(reference, save_dir)
    if path.is_file():
        if path.parent.name != "checkpoints":  # a link to one, or typed within their folder
            path = path.resolve()
        if path.parent.name == "checkpoints" and _is_run(path.parent.parent, "run.json", "config.yaml"):
            return RunFolder(_unlinked(path.parent.parent))
    elif _is_run(path, "run.json", "config.yaml", "checkpoints", ".lock"):
        return RunFolder(_unlinked(path))
    elif runs := runs_in(path):
        return RunFolder(newest_of(runs))
    raise UserError(f"{reference} is neither a run nor one of its checkpoints; {_alternatives(Path(save_dir))}")


def resolve_checkpoint(reference: str | Path, prefer: str = "best", save_dir: str | Path = "saved") -> Path:
    """The checkpoint file that a path to it or to its run names: `best` or `last`, or else the newest intact one."""
    from utils.checkpoint_folder import CheckpointFolder  # needs torch

    path = _existing(reference, save_dir)
    if path.is_file():
        return path
    run = resolve_run(reference, save_dir)
    if (checkpoint := CheckpointFolder(run.checkpoints).newest_intact(prefer)) is None:
        raise UserError(f"{run.path} holds no intact checkpoint")
    return checkpoint


def _existing(reference: str | Path, save_dir: str | Path) -> Path:
    for path in (Path(reference), Path(save_dir) / reference):
        if "\0" not in str(path) and len(path.name) < 256 and path.exists():
            return path
    raise UserError(f"there is no run or checkpoint {str(reference)[:200]!r}; {_alternatives(Path(save_dir))}")


def _alternatives(save_dir: Path) -> str:
    """The newest runs that are there to be named, for messages."""
    names = sorted(path for path in save_dir.glob("*") if path.is_dir()) if save_dir.is_dir() else []
    runs = [str(newest_of(runs)) for path in names if (runs := runs_in(path))]
    return f"there are {', '.join(runs[:8])}" + ", ..." * (len(runs) > 8) if runs else f"{save_dir} holds no runs"


def _is_run(path: Path, *names: str) -> bool:
    return any((path / name).exists() for name in names)


def _unlinked(path: Path) -> Path:
    """The path as it was typed, with a link at its end followed: `latest` may lead elsewhere tomorrow."""
    return path.parent / os.readlink(path) if path.is_symlink() else path
