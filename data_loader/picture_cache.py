"""Pictures decoded once: into memory, or into a file that later runs map into memory."""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from data_loader.pictures import read_picture
from utils.errors import UserError
from utils.files import sweep_temporary, write_durably

CACHE_FORMAT = 2  # goes into the key: raise it when decoding or layout changes
PICTURES_IN_WORK = 256
UNREADABLE_SHOWN = 10


def decode_all(root: Path, files: list[str], size: tuple[int, int] | None) -> Tensor:
    """All pictures as one uint8 tensor (N, 3, H, W). UserError when files are unreadable or of different sizes."""
    shape = _shape_of_first(root, files, size)
    pictures = torch.empty(len(files), *shape, dtype=torch.uint8)
    for row, picture in enumerate(_decode(root, files, size, shape)):
        pictures[row] = picture
    return pictures


def open_cache(folder: Path, root: Path, files: list[str], size: tuple[int, int] | None) -> Tensor:
    """The same as `decode_all`, mapped from a file in `folder` that is built when there is none for these pictures.

    The file's name is a hash of the pictures' names, sizes and times of change and of how they are decoded. It is built
    under a lock and appears when complete: a second run waits for it, a killed one leaves no harm. UserError as above,
    and when it cannot be written.
    """
    from filelock import FileLock  # comes with torch

    shape = _shape_of_first(root, files, size)
    path = folder / f"pictures-{_content_key(root, files, size)}.uint8"
    num_bytes = len(files) * math.prod(shape)

    def is_built() -> bool:
        return path.exists() and path.stat().st_size == num_bytes

    def write(file: BinaryIO) -> None:
        # Written, not mapped: a full disk is then an error and not the death of the process.
        for picture in _decode(root, files, size, shape):
            file.write(picture.numpy())

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not is_built():
            with FileLock(folder / "lock"):
                sweep_temporary(folder)
                if not is_built():  # by another run meanwhile
                    write_durably(path, write)
    except OSError as error:
        raise UserError(
            f"could not write the picture cache '{path}': {error}\n"
            f"It needs {num_bytes / 1e9:.1f} GB; another place: dataset.args.cache_folder."
        ) from error
    return torch.from_file(str(path), shared=False, size=num_bytes, dtype=torch.uint8).view(len(files), *shape)


def _content_key(root: Path, files: list[str], size: tuple[int, int] | None) -> str:
    digest = hashlib.sha256(f"{CACHE_FORMAT} {size}\n".encode())
    for name in files:
        status = os.stat(root / name)
        digest.update(f"{name}\0{status.st_size} {status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def _shape_of_first(root: Path, files: list[str], size: tuple[int, int] | None) -> torch.Size:
    """(3, H, W) of all pictures, as the first readable one has it."""
    if size is not None:
        return torch.Size((3, *size))
    first = _read_or_error(root / files[0], size)
    if isinstance(first, OSError):
        raise UserError(f"unreadable picture '{root / files[0]}': {first}")
    return first.shape


def _decode(root: Path, files: list[str], size: tuple[int, int] | None, shape: torch.Size) -> Iterator[Tensor]:
    """The pictures in order, decoded by several threads (decoding leaves Python's lock alone), with a progress bar."""
    from tqdm import tqdm

    unreadable = []
    bar = tqdm(total=len(files), desc=f"decoding {root}", unit=" pictures", disable=None)  # none in a log file
    with bar, ThreadPoolExecutor(os.cpu_count()) as pool:
        paths = (root / name for name in files)
        # A window of pictures in work, so that decoded ones do not pile up in memory.
        pending = deque((path, pool.submit(_read_or_error, path, size)) for path in islice(paths, PICTURES_IN_WORK))
        while pending:
            path, future = pending.popleft()
            picture = future.result()
            pending.extend((path, pool.submit(_read_or_error, path, size)) for path in islice(paths, 1))
            bar.update()
            if isinstance(picture, OSError):
                unreadable.append(f"{path}: {picture}")
            elif picture.shape != shape:
                raise UserError(
                    f"pictures differ in size: '{root / files[0]}' is {_height_width(shape)}, '{path}' is "
                    f"{_height_width(picture.shape)} (height x width); set dataset.args.size to resize them"
                )
            else:
                yield picture
    if unreadable:
        more = f"\n... and {len(unreadable) - UNREADABLE_SHOWN} more" if len(unreadable) > UNREADABLE_SHOWN else ""
        raise UserError("unreadable pictures:\n" + "\n".join(unreadable[:UNREADABLE_SHOWN]) + more)


def _read_or_error(path: Path, size: tuple[int, int] | None) -> Tensor | OSError:
    try:
        return read_picture(path, size)
    except OSError as error:
        return error


def _height_width(shape: torch.Size) -> str:
    return f"{shape[-2]}x{shape[-1]}"
