"""Files that are either there in full or not there at all, whatever happens while they are written."""

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


class WriteError(OSError):
    """A full or failing disk; the message names the file and says why. What was there before is intact."""

    def __str__(self) -> str:
        return f"cannot write {self.filename}: {self.strerror}"


def write_durably(
    path: str | Path,
    write: Callable[[BinaryIO], object],
    check: Callable[[Path], object] = lambda temporary: None,
) -> None:
    """Calls `write(file)` on a temporary file beside `path`, flushes it to disk, and renames it to `path`.

    check: called with the temporary file's path before the renaming; may raise.
    After any error (WriteError for a full disk, KeyboardInterrupt, whatever `write` raises) the temporary file
    is gone, `path` is as it was before, and the error passes on.
    """
    path = Path(path)
    with _temporary_beside(path) as temporary:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            sync(file.fileno())
        check(temporary)
        os.replace(temporary, path)


def link_atomically(link: str | Path, target_name: str) -> None:
    """Makes `link` point to `target_name`, in the same folder; it never points to nothing in between.

    A relative symbolic link, or a hard link where the file system or the user's rights allow no symbolic ones.
    """
    link = Path(link)
    with _temporary_beside(link) as temporary:
        try:
            os.symlink(target_name, temporary)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            os.link(link.parent / target_name, temporary)
        os.replace(temporary, link)


def make_folder(path: str | Path) -> None:
    """Makes a folder and the parents that are missing, so that they outlive a loss of power."""
    path = Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in missing:
        sync_folder(folder.parent)


def obstacle_to(folder: str | Path) -> str | None:
    """Why a folder can neither be written to nor made, or None; makes nothing."""
    folder = Path(folder)
    nearest = next((path for path in (folder, *folder.parents) if os.path.lexists(path)), folder)
    if not os.path.isdir(nearest):
        return f"{nearest} is not a folder"
    return None if os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} cannot be written to"


def sweep_temporary(folder: str | Path, min_age: float = 0.0) -> list[Path]:
    """Deletes what a killed `write_durably` or `link_atomically` left, of at least min_age seconds.

    For the folder's owner, or with an age that no write takes.
    """
    swept = []
    for path in sorted(Path(folder).glob(".*.tmp")):
        with suppress(FileNotFoundError):  # another process' that has come to its end
            if time.time() - path.lstat().st_mtime >= min_age:
                path.unlink()
                swept.append(path)
    return swept


def sync(descriptor: int) -> None:
    """Flushes an open file to the disk itself."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # on macOS fsync stops at the disk's own cache
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sync_folder(folder: str | Path) -> None:
    """Flushes a folder's list of names to disk, so that a rename in it outlives a loss of power."""
    if os.name == "nt":  # Windows opens no folders; its file system keeps a journal of names
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # so say network file systems that cannot
            raise
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """An OSError within becomes a WriteError that names the file."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from error


@contextmanager
def _temporary_beside(path: Path) -> Iterator[Path]:
    """A name beside `path` that no other process uses, gone at the end. An OSError becomes a WriteError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path):
            temporary.unlink(missing_ok=True)  # left behind by a killed process that had our id
            yield temporary
            sync_folder(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
