"""Checkpoints that all processes write together, each its part: see utils/shards.py."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from utils.checkpoint import CheckpointError, open_checkpoint, write_checkpoint, write_plain
from utils.checkpoint_folder import CheckpointFolder
from utils.checkpoint_writer import CheckpointWriter
from utils.distributed import from_main, is_main, num_ranks, rank, telling_of_others
from utils.errors import RunError
from utils.files import make_folder, naming
from utils.shards import divide, table_of

logger = logging.getLogger(__name__)


class ShardWriter(CheckpointWriter):
    """Saves as CheckpointWriter does; every process calls `save`, and copies and writes what it has.

    The threads meet twice in a save, in a process group of their own, so that nothing of the training comes between:
    when each has its part on the disk, whereupon the main one writes and links the index; and when that is done.
    folder: the main process's; the others have None, and learn where it is. seconds: how long to wait for each other.
    """

    def __init__(self, folder: CheckpointFolder | None, seconds: float, before: Callable[[], object] = lambda: None):
        path, self._name = from_main((folder and str(folder.path), secrets.token_hex(4)))
        super().__init__(folder or CheckpointFolder(path), before)
        self._group = dist.new_group(backend="gloo", timeout=timedelta(seconds=seconds))
        self._num_saves = 0

    def save(self, state: dict, step: int, is_best: bool = False) -> None:
        rest, layout, pieces = divide(state)
        super().save({"rest": rest if is_main() else {}, "layout": layout, "pieces": pieces}, step, is_best)

    def make_plain(self) -> None:
        """Put plain files, which any program reads, in place of the last and the best checkpoint. For the main process.

        They are put together on the disk, not in memory. One that is damaged is told of and left as it is.
        """
        links = [self.folder.path / name for name in ("last.pt", "best.pt")]
        for path in dict.fromkeys(link.resolve() for link in links if link.exists()):
            try:
                state = open_checkpoint(path, verify=False)
                if shards := state.get("shards"):
                    write_checkpoint(path, shards.filled(state, self._on_disk))
                    shutil.rmtree(shards.folder, ignore_errors=True)
            except CheckpointError as error:
                logger.warning("%s", error)

    def _write(self, snapshot: dict[str, Any], step: int, is_best: bool) -> None:
        # A name of its own for each save: the one before, of the same step, is whole until the index is there.
        self._num_saves += 1
        shards = self.folder.path / f"step-{step:09d}.{self._name}-{self._num_saves}"
        digest, error = None, None
        try:
            make_folder(shards)
            digest = write_plain(shards / f"{rank()}.pt", {"pieces": snapshot["pieces"]})
        except OSError as failed:
            error = failed
        reports = [None] * num_ranks() if is_main() else None
        with telling_of_others():
            dist.gather_object((digest, error and str(error), snapshot["layout"]), reports, group=self._group)
            if is_main():
                self._commit(shards, reports, snapshot["rest"], step, is_best)
            if error:
                raise error
            dist.barrier(self._group)

    def _commit(self, shards: Path, reports: list, rest: dict[str, Any], step: int, is_best: bool) -> None:
        """Write and link the index, where all have written their part."""
        digests, errors, layouts = (list(each) for each in zip(*reports, strict=True))
        try:
            for place, error in enumerate(errors):
                if error:
                    raise RunError(f"process {place}: {error}")
            self.before()
            self.folder.save({**rest, "shards": table_of(shards.name, digests, layouts)}, step, is_best)
        finally:
            if not (self.folder.path / f"step-{step:09d}.pt").exists():
                shutil.rmtree(shards, ignore_errors=True)

    def _on_disk(self, size: torch.Size, dtype: torch.dtype) -> torch.Tensor:
        """A tensor in a file that has no name, and goes with it: memory that is short needs not hold it."""
        path = self.folder.path / ".plain.tmp"
        with naming(path):
            with open(path, "wb") as file:
                if hasattr(os, "posix_fallocate"):  # a page that finds no room later would end the process
                    os.posix_fallocate(file.fileno(), 0, max(size.numel(), 1) * dtype.itemsize)
            tensor = torch.from_file(str(path), shared=True, size=size.numel(), dtype=dtype)
            path.unlink()
        return tensor.view(size)
