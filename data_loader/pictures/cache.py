"""Pictures decoded once: into memory, or into a file that later runs map into memory."""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy
import torch
from torch import Tensor

from data_loader.pictures.decoding import Resize, read_picture
from utils.errors import UserError
from utils.files import sweep_temporary, write_durably

CACHE_FORMAT = 3  # goes into the key: raise it when decoding or layout changes
PICTURES_IN_WORK = 256
UNREADABLE_SHOWN = 10


class PictureFiles(NamedTuple):
    """The files to decode, relative to `root`, and the height and width to resize them to; None: as they are."""

    root: Path
    files: list[str]
    size: tuple[int, int] | None
    resize: Resize

    def read(self, row: int) -> Tensor | str:
        """A picture, uint8 (3, H, W), or why it cannot be read."""
        try:
            return read_picture(self.path(row), self.size, self.resize)
        except OSError as error:
            return str(error)

    def path(self, row: int) -> Path:
        return self.root / self.files[row]


class CachedPictures:
    """Decoded pictures, uint8 (N, 3, H, W). One that is unreadable raises OSError when it is taken, as without a cache.

    unreadable: by row, why. notes: the same in words.
    """

    def __init__(self, source: PictureFiles, pictures: Tensor, unreadable: dict[int, str]):
        self.pictures = pictures
        self.unreadable = unreadable
        self.notes = [_told(source, unreadable)] if unreadable else []

    def __getitem__(self, row: int) -> Tensor:
        if row in self.unreadable:
            raise OSError(self.unreadable[row])
        return self.pictures[row]

    def take(self, rows: Tensor) -> Tensor:
        """Those pictures in one tensor."""
        if self.unreadable:
            for row in self.unreadable.keys() & set(rows.tolist()):
                raise OSError(self.unreadable[row])
        return self.pictures.index_select(0, rows)


def decode_all(source: PictureFiles) -> CachedPictures:
    """All pictures in memory. UserError when they are of different sizes, or none is readable."""
    shape = _common_shape(source)
    pictures = torch.empty(len(source.files), *shape, dtype=torch.uint8)
    unreadable: dict[int, str] = {}
    for row, picture in enumerate(_decode(source, shape, unreadable)):
        pictures[row] = picture
    return CachedPictures(source, pictures, unreadable)


def open_cache(folder: Path, source: PictureFiles) -> CachedPictures:
    """The same as `decode_all`, mapped from a file in `folder` that is built when there is none for these pictures.

    The file's name is a hash of where the pictures lie and of their size, and one of their names, lengths, times of
    change and of how they are decoded. It is built under a lock and appears when complete: a second run waits for it, a
    killed one leaves no harm. One with the same first hash is then out of date and removed; a run that has it mapped
    keeps it on Linux and macOS, and Windows keeps the file. UserError as above, and when it cannot be written.
    """
    from filelock import FileLock, Timeout  # comes with torch

    shape = _common_shape(source)
    place = _place_key(folder, source)
    path = folder / f"pictures-{place}-{_content_key(source)}.uint8"
    num_bytes = len(source.files) * math.prod(shape)
    lock = FileLock(folder / "lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unreadable = _unreadable_in(path, num_bytes, source)
        if unreadable is None:
            with lock:
                sweep_temporary(folder)
                unreadable = _unreadable_in(path, num_bytes, source)  # built by another run meanwhile?
                if unreadable is None:
                    unreadable = _build(path, source, shape)
                    for old in set(folder.glob(f"pictures-{place}-*.uint8")) - {path}:
                        with suppress(OSError):
                            old.unlink()
        elif any(folder.glob(".*.tmp")):
            with suppress(Timeout, OSError), lock.acquire(blocking=False):  # else another run is building
                sweep_temporary(folder)
    except OSError as error:
        raise UserError(
            f"could not write the picture cache '{path}': {error}\n"
            f"It needs {num_bytes / 1e9:.1f} GB; another place: dataset.args.cache_folder."
        ) from error
    pictures = torch.from_file(str(path), shared=False, size=num_bytes, dtype=torch.uint8)
    return CachedPictures(source, pictures.view(len(source.files), *shape), unreadable)


def _build(path: Path, source: PictureFiles, shape: torch.Size) -> dict[int, str]:
    """Write all pictures, then the rows of the unreadable ones and their number, int64; returns why they are."""
    unreadable: dict[int, str] = {}

    def write(file: BinaryIO) -> None:
        # Written, not mapped: a full disk is then an error and not the death of the process.
        for picture in _decode(source, shape, unreadable):
            file.write(picture.numpy())
        file.write(numpy.array([*unreadable, len(unreadable)], dtype="<i8"))

    write_durably(path, write)
    return unreadable


def _unreadable_in(path: Path, num_bytes: int, source: PictureFiles) -> dict[int, str] | None:
    """The unreadable pictures of a cache file; None where it has to be built, as when one of them is readable now."""
    try:
        with open(path, "rb") as file:
            file.seek(num_bytes)
            end = file.read()
    except FileNotFoundError:
        return None
    rows = numpy.frombuffer(end[: len(end) // 8 * 8], dtype="<i8").tolist()
    if not rows or len(end) != 8 * (rows[-1] + 1):
        return None
    read = {row: source.read(row) for row in rows[:-1]}
    return None if any(isinstance(reason, Tensor) for reason in read.values()) else read


def _place_key(folder: Path, source: PictureFiles) -> str:
    root, beside = source.root.resolve(), folder.resolve().parent
    place = root.relative_to(beside) if root.is_relative_to(beside) else root  # what moves together stays the same
    text = f"{place.as_posix()}\n{source.size} {source.resize}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _content_key(source: PictureFiles) -> str:
    digest = hashlib.sha256(f"{CACHE_FORMAT} {source.size} {source.resize}\n".encode())
    for name in source.files:
        try:
            status = os.stat(source.root / name)
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:  # a link to nothing
            state = "unreadable"
        digest.update(f"{name}\0{state}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _common_shape(source: PictureFiles) -> torch.Size:
    """(3, H, W) of all pictures, as the first readable one has it."""
    if source.size is not None:
        return torch.Size((3, *source.size))
    unreadable = {}
    for row in range(len(source.files)):
        picture = source.read(row)
        if isinstance(picture, Tensor):
            return picture.shape
        unreadable[row] = picture
    raise UserError(_told(source, unreadable))


def _decode(source: PictureFiles, shape: torch.Size, unreadable: dict[int, str]) -> Iterator[Tensor]:
    """The pictures in order, decoded by several threads (decoding leaves Python's lock alone), with a progress bar.

    unreadable: gets a row for each of those, which are black.
    """
    from tqdm import tqdm

    num_files = len(source.files)
    bar = tqdm(total=num_files, desc=f"decoding {source.root}", unit=" pictures", disable=None)  # none in a log file
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        rows = iter(range(num_files))
        # A window of pictures in work, so that decoded ones do not pile up in memory.
        pending = deque(pool.submit(source.read, row) for row in islice(rows, PICTURES_IN_WORK))
        for row in range(num_files):
            picture = pending.popleft().result()
            pending.extend(pool.submit(source.read, row) for row in islice(rows, 1))
            bar.update()
            if isinstance(picture, str):
                unreadable[row] = picture
                picture = torch.zeros(shape, dtype=torch.uint8)
            elif picture.shape != shape:
                first = next(other for other in range(num_files) if other not in unreadable)
                raise UserError(
                    f"pictures differ in size: '{source.path(first)}' is {_height_width(shape)}, '{source.path(row)}' "
                    f"is {_height_width(picture.shape)} (height x width); set dataset.args.size to resize them"
                )
            yield picture
    if len(unreadable) == num_files:
        raise UserError(_told(source, unreadable))


def _told(source: PictureFiles, unreadable: dict[int, str]) -> str:
    shown = [f"{source.path(row)}: {reason}" for row, reason in islice(unreadable.items(), UNREADABLE_SHOWN)]
    more = f"\n... and {len(unreadable) - UNREADABLE_SHOWN} more" if len(unreadable) > UNREADABLE_SHOWN else ""
    return f"{len(unreadable)} of {len(source.files)} pictures are unreadable:\n" + "\n".join(shown) + more


def _height_width(shape: torch.Size) -> str:
    return f"{shape[-2]}x{shape[-1]}"
