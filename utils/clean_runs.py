"""Frees the disk space of checkpoints that nobody will go on from, for runs.py: of finished runs, all but the best."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from utils.checkpoint_folder import CheckpointFolder
from utils.errors import UserError
from utils.files import link_atomically
from utils.run_folder import RunFolder


class Superfluous(NamedTuple):
    """Checkpoints of a run that may go. kept: the intact one that stays; size: of all files, in bytes."""

    run: Path
    kept: Path
    files: list[Path]
    size: int


def find_superfluous(runs: Iterable[Path], tell: Callable[[str], None]) -> list[Superfluous]:
    """What may be deleted of these runs, all finished: the best is read to its end first, and has to be intact."""
    return [found for run in runs if (found := _superfluous_of(run, tell)) is not None]


def _superfluous_of(run: Path, tell: Callable[[str], None]) -> Superfluous | None:
    folder = CheckpointFolder(run / "checkpoints")
    files = list(folder.steps().values())
    if len(files) < 2:
        return None
    kept = folder.newest_intact("best")
    if kept is None:
        tell(f"{run} is left alone: none of its checkpoints is intact")
        return None
    if kept not in files:  # a program that copied the folder has made a file of the link
        tell(f"{run} is left alone: its best checkpoint is {kept}, which no run goes on from")
        return None
    best = folder.path / "best.pt"
    spared = [path for path in files if path == kept or (best.exists() and path.samefile(best))]
    superfluous = [path for path in files if path not in spared]
    size = sum(_size_of(folder, path) for path in superfluous)
    return Superfluous(run, kept, superfluous, size) if superfluous else None


def delete_all(found: Iterable[Superfluous], tell: Callable[[str], None]) -> int:
    """Deletes the files; returns their bytes. A run that has been gone on with meanwhile is left alone."""
    size = 0
    for each in found:
        run = RunFolder(each.run)
        try:
            run.acquire()
            if run.info().get("status") != "finished":
                raise UserError(f"run {each.run} is {run.info().get('status')} now")
        except UserError as error:
            tell(f"left alone: {error}")
        else:
            now, folder = _superfluous_of(each.run, tell), CheckpointFolder(run.checkpoints)
            for path in now.files if now else ():
                if path in each.files:
                    if (last := run.checkpoints / "last.pt").exists() and last.samefile(path):
                        link_atomically(last, now.kept.name)  # first: no link may lead to nothing
                    size += _size_of(folder, path)
                    for shards in folder.shards_of(path):  # first: without its index, nothing would find them again
                        shutil.rmtree(shards)
                    path.unlink()
        finally:
            run.unlock()
    return size


def _size_of(folder: CheckpointFolder, path: Path) -> int:
    """Bytes of a checkpoint, with its shards."""
    parts = (part for shards in folder.shards_of(path) for part in shards.iterdir())
    return sum(file.stat().st_size for file in (path, *parts))
