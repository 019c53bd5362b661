"""The checkpoints of one run: which there are, which is newest, which may go."""

import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from utils.checkpoint import CheckpointError, open_checkpoint, verify_checkpoint, write_checkpoint
from utils.files import link_atomically, make_folder

logger = logging.getLogger(__name__)
_SHARDS = re.compile(r"(step-\d+)\.[0-9a-f]{8}-\d+")


class CheckpointFolder:
    """Files step-000000120.pt, with `last.pt` and `best.pt` linked to two of them.

    keep_last: how many of the newest to keep, besides the best, the one resumed from, and the one just saved.
    """

    def __init__(self, path: str | Path, keep_last: int = 2):
        self.path = Path(path)
        self.keep_last = keep_last
        self.resumed_from: Path | None = None

    def steps(self) -> dict[int, Path]:
        """Every checkpoint file by its step, the highest first, damaged ones included."""
        found = {}
        for path in self.path.glob("step-*.pt"):
            if match := re.fullmatch(r"step-(\d+)\.pt", path.name):
                found[int(match[1])] = path
        return dict(sorted(found.items(), reverse=True))

    def shards_of(self, path: Path) -> list[Path]:
        """The folders with the shards of a checkpoint, if it is an index of some."""
        return [folder for folder in self.path.glob(f"{path.stem}.*-*") if _SHARDS.fullmatch(folder.name)]

    def save(self, state: dict, step: int, is_best: bool = False) -> Path:
        """Writes and links a checkpoint, and only then deletes older ones.

        Nothing refers to the file, and no other goes, before it is on the disk and has been read back.
        """
        path = self.path / f"step-{step:09d}.pt"
        make_folder(self.path)
        write_checkpoint(path, state)
        if is_best:  # first: a run that goes on from this one must not take an older one for the best
            link_atomically(self.path / "best.pt", path.name)
        link_atomically(self.path / "last.pt", path.name)
        self._delete_old(step)
        self._delete_shards(path, state)
        return path

    def newest(self) -> tuple[Path, dict] | None:
        """The checkpoint to go on from and its state; damaged ones are named in a warning and passed over."""
        for path in self._candidates("last.pt"):
            try:
                return path, open_checkpoint(path)
            except CheckpointError as error:
                logger.warning("%s; trying the one before it", error)
        return None

    def newest_intact(self, prefer: str = "last") -> Path | None:
        """The file that `best.pt` or `last.pt` links to, or else the newest that is not damaged."""
        for path in self._candidates(f"{prefer}.pt"):
            try:
                verify_checkpoint(path)
                return path
            except CheckpointError as error:
                logger.warning("%s; trying another", error)
        return None

    def resume_from(self, path: Path) -> None:
        """Makes an intact checkpoint the one to go on from: never deleted by this run, and `last.pt` points to it.

        Mends a `best.pt` that points to nothing or to a damaged file. For the owner of the run only.
        """
        self.resumed_from = self._target(path, list(self.steps().values()))
        if self.resumed_from is None:  # a file from elsewhere
            return
        link_atomically(self.path / "last.pt", self.resumed_from.name)
        best = self.path / "best.pt"
        if os.path.lexists(best) and self._is_damaged(best):
            logger.warning("%s led to a damaged checkpoint, and now leads to %s", best, self.resumed_from.name)
            link_atomically(best, self.resumed_from.name)

    def _candidates(self, link_name: str) -> Iterator[Path]:
        """The file behind a link, then the one behind `last.pt`, then all by step."""
        files = list(self.steps().values())
        linked = [self._target(self.path / name, files) for name in (link_name, "last.pt")]
        if link_name == "best.pt" and linked[0] is None and (linked[1] is None or (self.path / link_name).is_file()):
            linked[0] = self._best_without_link(files)
        yield from dict.fromkeys([path for path in linked if path] + files)

    def _best_without_link(self, files: list[Path]) -> Path | None:
        """The best after a copy by a program that makes files of links, or leaves them out."""
        link = self.path / "best.pt"
        for path in (link,) if link.is_file() else files:
            try:
                state = open_checkpoint(path, verify=False)
            except CheckpointError:
                continue
            if path == link:
                return self.steps().get(state["step"], link)
            if (step := state["best"].get("step")) and step not in self.steps():
                logger.warning("%s: the best checkpoint, of step %s, is not there", self.path, step)
            return self.steps().get(step)
        return None

    def _delete_old(self, step: int) -> None:
        """Deletes by step, never by file time: a copied folder has the times of the copying.

        Steps above `step` are what a run left that has since been resumed from further back: they go first.
        """
        files = self.steps()
        reached = [path for number, path in files.items() if number <= step]
        best = self._target(self.path / "best.pt", list(files.values()))
        kept = {best, self.resumed_from, *reached[: max(self.keep_last, 1)]}
        for path in files.values():
            if path not in kept:
                path.unlink(missing_ok=True)

    def _delete_shards(self, saved: Path, state: dict) -> None:
        """Deletes shards without an index: of a save that was cut short, or of a checkpoint that is gone."""
        own = state["shards"]["folder"] if "shards" in state else None
        for folder in self.path.glob("step-*.*-*"):
            if match := _SHARDS.fullmatch(folder.name):
                index = self.path / f"{match[1]}.pt"
                if not index.exists() or (index == saved and folder.name != own):
                    shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def _target(link: Path, files: list[Path]) -> Path | None:
        """The file of `files` that a symbolic or hard link leads to."""
        return next((path for path in files if link.exists() and os.path.samefile(link, path)), None)

    @staticmethod
    def _is_damaged(path: Path) -> bool:
        try:
            verify_checkpoint(path)
        except CheckpointError:
            return True
        return False
