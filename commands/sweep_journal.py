"""Optuna's journal of a search: one file, which any number of processes write to, killed at any time."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from commands.sweeping import lock
from utils.errors import UserError
from utils.files import fcntl

if TYPE_CHECKING:
    from optuna.storages import JournalStorage


class JournalLock:
    """What Optuna takes to write to its journal. Its own lock outlives a process that is killed."""

    name = ".optuna.lock"

    def __init__(self, folder: Path):
        self._path = folder / self.name
        self._stack = contextlib.ExitStack()

    def acquire(self) -> bool:
        self._stack.enter_context(lock(self._path))
        return True

    def release(self) -> None:
        self._stack.close()


def open_journal(folder: Path) -> JournalStorage:
    """The journal in a folder, a new one where there is none. UserError for one that is damaged."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = folder / "optuna.log"
    with lock(path.with_name(JournalLock.name)):
        if path.exists():
            _mend(path)
    own = None if fcntl is None else JournalLock(folder)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=own))


def _mend(path: Path) -> None:
    """Leave out a last line that is cut short, as where power was lost. UserError where another line is damaged."""
    with open(path, "r+b") as file:
        file.truncate(file.read().rfind(b"\n") + 1)
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            json.loads(line)
        except ValueError as error:
            remedy = "mend that line, or begin another search: name=NAME"
            raise UserError(f"{path}:{number}: the journal of the search is damaged ({error}); {remedy}") from error
