"""The folder of one run, saved/<name>/<run-id>/: made once, and owned by one process at a time."""

import errno
import itertools
import json
import logging
import os
import re
import shlex
import time
from contextlib import suppress
from pathlib import Path

from utils.errors import UserError
from utils.files import (
    link_atomically,
    make_folder,
    naming,
    obstacle_to,
    sweep_temporary,
    sync,
    sync_folder,
    write_durably,
)
from utils.folder_lock import FolderLock
from utils.logs import read_metrics

logger = logging.getLogger(__name__)

_RUN_ID = re.compile(r"(\d{8}-\d{6})(?:-(\d+))?")


class RunFolder:
    """Where the files of a run are; making and changing them are methods."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.log_folders = {"tensorboard"}  # in lower case: of the loggers, each called like one
        self._lock = FolderLock(self.path)

    @classmethod
    def create(cls, save_dir: str | Path, name: str) -> "RunFolder":
        """A folder that no other process has, with saved/<name>/latest linked to it.

        name: one that a config may have; config/schema.py says what is right.
        """
        parent = parent_of_runs(save_dir, name)
        with naming(parent):
            make_folder(parent)
            if not parent.resolve().is_relative_to(Path(save_dir).resolve()):
                raise UserError(f"{parent} is a link out of {save_dir}; remove it or choose another name")
            path = _make_unique(parent)
            _link_latest(parent)
        return cls(path)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def has_checkpoint(self) -> bool:
        """Whether it has saved one, intact or not."""
        return any(self.checkpoints.glob("*.pt"))

    @property
    def is_usable(self) -> bool:
        """False for a run that failed before its first checkpoint: there is nothing to go on from or to evaluate."""
        return self.has_checkpoint or self.info().get("status") != "failed"

    def lock(self) -> None:
        """Takes the folder for the life of this process: `acquire`, then `claim`."""
        self.acquire()
        self.claim()

    def acquire(self) -> None:
        """Keeps all others out, without a change to any file. UserError naming the owner if there is one."""
        self._lock.acquire()

    def claim(self) -> None:
        """Enters this process as the owner, and sweeps up what a killed one left; nothing before `acquire`."""
        if not self._lock.is_held:
            return
        self._lock.sign()
        for folder in (self.path, self.checkpoints):
            sweep_temporary(folder)
        self._link_latest()  # it may have been killed before it was linked

    def is_in_use(self) -> bool:
        """Whether a process owns it; True where there is no telling."""
        return self._lock.is_taken()

    def unlock(self) -> None:
        self._lock.release()

    def write_config(self, text: str) -> None:
        write_durably(self.path / "config.yaml", lambda file: file.write(text.encode()))

    def start(self, info: dict) -> None:
        """Enters `info` (plain data: command, versions, host, ...) and status `running` in run.json."""
        before = self.info()
        times = {"started": before.get("started", _now())}
        if before:
            times["resumed"] = _now()
        self._write_info({**info, **times, "status": "running"})

    def set_status(self, status: str) -> None:
        """`finished`, `stopped` or `failed`; a killed run stays `running`."""
        self._write_info({**self.info(), "status": status, "ended": _now()})
        if not self.is_usable:
            self._link_latest()

    def tell_what_is_saved(self) -> None:
        """A line that says where a run that failed can go on, if it has saved a checkpoint."""
        if (last := self.checkpoints / "last.pt").exists():
            run = shlex.quote(str(self.path))
            logger.info("saved: %s; to go on from there: python train.py -r %s", last.resolve().name, run)

    def info(self) -> dict:
        """What run.json holds; {} without one."""
        try:
            info = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return info if isinstance(info, dict) else {}

    def positions(self) -> dict[str, int]:
        """How far the logs go: lines of CSV files, bytes of train.log and of every other file of a logger."""
        return {self._key(path): _length(path) for path in self._logs()}

    def sync_logs(self) -> None:
        """Flushes the logs to disk: no checkpoint may tell of more than a loss of power has left of them."""
        for path in self._logs():
            with naming(path), open(path, "ab") as file:
                sync(file.fileno())
        for folder in {path.parent for path in self._logs()}:
            sync_folder(folder)

    def check_logs(self, positions: object) -> None:
        """UserError unless the logs can be cut back to `positions`, and gone on with from there."""
        if not isinstance(positions, dict) or not all(type(n) is int and n >= 0 for n in positions.values()):
            raise UserError(f"the checkpoint does not say how far the logs went, but {str(positions)[:80]}")
        read_metrics(self.path / "metrics.csv", positions.get("metrics.csv", 0))

    def rewind(self, positions: dict[str, int]) -> None:
        """Cuts the logs back to `positions`, so that no step done again is logged twice; {} clears them.

        What has grown is cut, and what is new since then goes.
        """
        self.check_logs(positions)
        self.log_folders |= {key.split("/")[0].lower() for key in positions if "/" in key}  # of loggers left out now
        for path in self._logs():
            position = positions.get(self._key(path), 0)
            if position == 0:
                path.unlink()
            elif path.suffix == ".csv":
                lines = path.read_bytes().splitlines(keepends=True)[:position]
                write_durably(path, lambda file, lines=lines: file.writelines(lines))
            elif path.stat().st_size > position:
                os.truncate(path, position)

    def _logs(self) -> list[Path]:
        files = [self.path / "metrics.csv", self.path / "train.log"]
        for folder in sorted(self.path.iterdir()) if self.path.is_dir() else ():
            name = folder.name.lower()
            if name in self.log_folders and name != "checkpoints" and not re.match(r"test(-|$)", name):
                files += sorted(folder.rglob("*"))
        return [path for path in files if path.is_file() and not path.is_symlink()]

    def _key(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _link_latest(self) -> None:
        path = self.path.resolve()
        if _RUN_ID.fullmatch(path.name):  # not where it has been moved out of the folder of its name
            _link_latest(path.parent)

    def _write_info(self, info: dict) -> None:
        text = json.dumps(info, indent=2, ensure_ascii=False) + "\n"
        write_durably(self.path / "run.json", lambda file: file.write(text.encode()))


def check_save_dir(save_dir: str | Path, name: str) -> None:
    """UserError where no run folder can be made; makes nothing."""
    if obstacle := obstacle_to(parent_of_runs(save_dir, name)):
        expected = "expected a folder to write in, or the path of a new one"
        raise UserError(f"trainer.save_dir: found '{save_dir}' (text), but {obstacle}; {expected}")


def parent_of_runs(save_dir: str | Path, name: str) -> Path:
    """The folder of all runs of a name."""
    assert name not in ("", "..") and Path(name).name == name, f"{name!r} would lead out of {save_dir}"
    return Path(save_dir) / name


def runs_in(parent: Path) -> list[Path]:
    """The run folders of one name, the newest last."""
    if not parent.is_dir():
        return []
    found = [(match, path) for path in parent.iterdir() if (match := _RUN_ID.fullmatch(path.name)) and path.is_dir()]
    return [path for match, path in sorted(found, key=lambda pair: (pair[0][1], int(pair[0][2] or 1)))]


def newest_of(runs: list[Path]) -> Path:
    """The newest that is usable; of none, the newest."""
    return next((path for path in reversed(runs) if RunFolder(path).is_usable), runs[-1])


def _length(path: Path) -> int:
    """Lines of a CSV file, bytes of any other: a new column in the header lengthens lines, but adds none."""
    return len(path.read_bytes().splitlines()) if path.suffix == ".csv" else path.stat().st_size


def _make_unique(parent: Path) -> Path:
    """A folder named after the time; mkdir decides who gets a name that several want."""
    run_id = time.strftime("%Y%m%d-%H%M%S")
    for number in itertools.count(1):
        path = parent / (run_id if number == 1 else f"{run_id}-{number}")
        with suppress(FileExistsError):
            path.mkdir()
            return path


def _link_latest(parent: Path) -> None:
    """Points `latest` to the newest usable run, whichever process makes it."""
    sweep_temporary(parent, min_age=60)  # younger ones may be another process'
    linked = None
    while (newest := newest_of(runs_in(parent)).name) != linked:  # a newer one may come while we link
        try:
            link_atomically(parent / "latest", newest)
        except OSError as error:  # folders have no hard links, where there are no symbolic ones
            if error.errno not in (errno.EPERM, errno.EACCES):
                raise
        linked = newest


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
