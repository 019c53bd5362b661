"""A folder that one process at a time owns; the kernel frees it at any death."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from utils.errors import UserError

try:
    import fcntl
except ImportError:  # Windows, where nothing stops a second owner
    fcntl = None

logger = logging.getLogger(__name__)


class FolderLock:
    """The file `.lock` in a folder, locked by its owner."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._file = None

    @property
    def is_held(self) -> bool:
        """Whether it is this object that has it."""
        return self._file is not None

    def acquire(self) -> None:
        """Keeps all others out, without a change to any file. UserError naming the owner if there is one."""
        file = open(self._folder / ".lock", "a+", encoding="utf-8")  # noqa: SIM115
        if fcntl is not None:
            try:
                _lock_patiently(file.fileno())
            except BlockingIOError:
                file.seek(0)
                owner = file.read() or "another process"
                file.close()
                raise UserError(f"run {self._folder} is in use by {owner}; wait for it, or stop it") from None
            except OSError as error:
                logger.warning("%s cannot be locked (%s): let no other process use it", self._folder, error)
            os.register_at_fork(after_in_child=file.close)  # a loader worker may outlive us
        self._file = file

    def sign(self) -> None:
        """Says in the file whose it is."""
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def is_taken(self) -> bool:
        """Whether a process owns it; True where there is no telling. A look takes the lock for a moment."""
        try:
            file = os.open(self._folder / ".lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return fcntl is None
        except OSError:
            return True
        finally:
            os.close(file)


def _lock_patiently(file: int) -> None:
    """BlockingIOError where another has the lock for longer than the moment that `is_taken` takes."""
    for _ in range(5):
        with suppress(BlockingIOError):
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(0.02)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
