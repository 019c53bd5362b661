"""One checkpoint, one file: written durably, and checked in full before a byte of it is believed.

The file is what `torch.save` writes, a zip archive, with a digest of all that as the archive's comment. Zip
readers and `torch.load(path, weights_only=True)` pass over a comment; we read it, because torch loads a
flipped bit without a word.
"""

import errno
import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from pickle import UnpicklingError
from typing import BinaryIO

import torch
from torch.serialization import get_unsafe_globals_in_checkpoint

from utils.archive import check_archive
from utils.errors import UserError
from utils.files import write_durably
from utils.pickle_limits import check_pickle
from utils.plain_data import check_plain, compact, copy_plain

FORMAT = 1
IN_SHARDS = 2  # the format of an index, of which other files hold tensors: see utils/shards.py
# What no checkpoint is without; docs/architecture.md lists all keys.
REQUIRED = {
    "config": dict,
    "step": int,
    "epoch": int,
    "model": dict,
    "optimizer": object,
    "lr_scheduler": object,
    "best": object,
}

_TAG = b"blake2b:"
_COMMENT_SIZE = len(_TAG) + 64
_COMMENT_START = _COMMENT_SIZE.to_bytes(2, "little") + _TAG
_CHUNK = 1 << 20
# What torch.load and what it calls raise, between them, for archives that are made to harm.
_FAULTS = (
    zipfile.BadZipFile, struct.error, RuntimeError, ValueError, TypeError, LookupError,
    AttributeError, ArithmeticError, AssertionError, EOFError, MemoryError,
)  # fmt: skip


class CheckpointError(UserError):
    """A file that cannot be used as a checkpoint; the message names it and says what is wrong with it."""


def write_checkpoint(path: str | Path, state: dict) -> None:
    """Writes `state`, plain data and tensors with the REQUIRED keys, to be there in full or not at all.

    ValueError naming the place of anything else in it; WriteError for a full or failing disk.
    """
    missing = REQUIRED.keys() - state.keys()
    if missing:
        raise ValueError(f"a checkpoint needs the keys {sorted(missing)}")
    write_plain(path, {"format": IN_SHARDS if "shards" in state else FORMAT, **state})


def write_plain(path: str | Path, contents: dict) -> str:
    """Writes any dict of plain data and tensors with the same care; returns its digest."""
    contents = copy_plain(contents, lambda path, tensor: compact(tensor))
    check_plain(contents)  # what reading would refuse must not be written
    digest = ""

    def write(file: BinaryIO) -> None:
        nonlocal digest
        out = _DigestingFile(file)
        try:
            torch.save(contents, out)
        except RuntimeError:  # torch raises this in place of the OSError of a failed write
            if out.error is None:
                raise
            raise out.error from None
        file.seek(-2, os.SEEK_END)  # over the length of the comment, which torch.save leaves at 0
        digest = out.digest.hexdigest()
        file.write(_COMMENT_START + digest.encode())

    def check(temporary: Path) -> None:
        try:
            verify_file(temporary)
        except CheckpointError as error:
            raise OSError(errno.EIO, f"what was written cannot be read back ({error})") from error

    write_durably(path, write, check)
    return digest


def read_checkpoint(path: str | Path) -> dict:
    """The state in a checkpoint, its tensors on the CPU. CheckpointError unless the file is as it was written."""
    state = read_plain(path)
    with _naming(path):
        _check_contents(state)
    return state


def open_checkpoint(path: str | Path, verify: bool = True) -> dict:
    """As `read_checkpoint`, but what of it lies in shards stays there: state["shards"] reads it.

    verify: read them in full, once, to find out what is damaged.
    """
    state = _opened_shards(path, read_file(path))
    with _naming(path):
        _check_contents(state)
    if verify and _has_shards(state):
        state["shards"].verify()
    return state


def read_plain(path: str | Path) -> dict:
    """The dict in any file of torch.save, such as a bare state_dict, read with the same care."""
    state = _opened_shards(path, read_file(path))
    with _naming(path):
        return state["shards"].filled(state) if _has_shards(state) else state


def read_file(path: str | Path, in_memory: bool = True) -> dict:
    """What is in one file. in_memory: else its tensors are read when they are looked at."""
    with _naming(path), _opened(path) as file:
        comment_size, _ = _check_digest(file)
        pickle = check_archive(file, comment_size, check_crc=not comment_size)
        file.seek(0)
        if names := get_unsafe_globals_in_checkpoint(file):
            raise ValueError(f"it holds more than plain data and tensors ({', '.join(sorted(names))[:80]})")
        check_pickle(pickle)
        file.seek(0)
        # Said here, weights_only cannot be turned off by TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD.
        source = file if in_memory else str(path)
        state = torch.load(source, map_location="cpu", weights_only=True, mmap=not in_memory)
        if not isinstance(state, dict):
            raise ValueError(f"it holds a {type(state).__name__}, not a dict")
        check_plain(state)
    return state


def verify_checkpoint(path: str | Path) -> None:
    """CheckpointError unless the checkpoint is as it was written, with its shards; reads it once and loads nothing."""
    with _naming(path), _opened(path) as file:
        comment_size, digest = _check_digest(file)
        may_have_shards = b"shards" in check_archive(file, comment_size, check_crc=not digest)
    if may_have_shards:
        open_checkpoint(path)


def verify_file(path: str | Path) -> str:
    """CheckpointError unless the file is as it was written; returns its digest, "" where it has none.

    By the digest alone, whatever torch has written: a new kind of instruction must not end a run at its checkpoint.
    """
    with _naming(path), _opened(path) as file:
        comment_size, digest = _check_digest(file)
        if not digest:
            check_archive(file, comment_size, check_crc=True)
    return digest


def _has_shards(state: dict) -> bool:
    return type(state.get("format")) is int and state["format"] == IN_SHARDS


def _opened_shards(path: str | Path, state: dict) -> dict:
    """A state as it is, or that of an index with what reads its shards."""
    if not _has_shards(state):
        return state
    from utils.shards import Shards  # torch.distributed.checkpoint takes its time to import

    with _naming(path):
        return Shards(path, state["shards"]).opened(state)


class _DigestingFile:
    """What torch.save writes to: passes all on, takes the digest, and keeps the error that torch hides."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.digest = blake2b(digest_size=32)
        self.error: OSError | None = None

    def write(self, data: memoryview) -> int:
        try:
            num_written = self.file.write(data)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(data)
        return num_written

    def flush(self) -> None:
        self.file.flush()


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Turns every way in which reading can fail into one CheckpointError that names the file."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror or error}") from error
    except (UnpicklingError, *_FAULTS) as error:
        reason = (str(error) or type(error).__name__).split("\n")[0][:300]
        if isinstance(error, UnpicklingError):  # whose text is advice on how to read it nevertheless
            reason = "it holds more than plain data and tensors"
        raise CheckpointError(f"checkpoint {path} is damaged or not a checkpoint: {reason}") from error


@contextmanager
def _opened(path: str | Path) -> Iterator[BinaryIO]:
    if os.path.exists(path) and not os.path.isfile(path):  # a named pipe would wait for ever
        raise ValueError("it is not a file")
    with open(path, "rb") as file:
        yield file


def _check_digest(file: BinaryIO) -> tuple[int, str]:
    """The size of the comment that holds the digest, and this; 0 and "" of a file without. ValueError: no match."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        raise ValueError("it is empty")
    num_digested = size - _COMMENT_SIZE - 2
    file.seek(max(num_digested, 0))
    comment = file.read()
    if not comment.startswith(_COMMENT_START):
        return 0, ""
    digest = _digest(file, num_digested)
    if digest.encode() != comment[len(_COMMENT_START) :]:
        raise ValueError("its content does not match its digest")
    return _COMMENT_SIZE, digest


def _digest(file: BinaryIO, num_bytes: int) -> str:
    """Digest of the first `num_bytes` of a file and of the comment's length as torch.save had left it."""
    digest = blake2b(digest_size=32)
    buffer = memoryview(bytearray(_CHUNK))
    file.seek(0)
    while num_bytes and (num_read := file.readinto(buffer[:num_bytes])):
        digest.update(buffer[:num_read])
        num_bytes -= num_read
    digest.update(b"\0\0")
    return digest.hexdigest()


def _check_contents(state: dict) -> None:
    """ValueError unless the format is ours and the required keys are there, each of its type."""
    if "format" not in state:
        raise ValueError("it has no key 'format'; weights alone go to trainer.init_from")
    if type(state["format"]) is not int or state["format"] not in (FORMAT, IN_SHARDS):
        raise ValueError(f"its format is {str(state['format'])[:80]}, and this program reads formats 1 and 2")
    for key, kind in REQUIRED.items():
        if key not in state:
            raise ValueError(f"it has no key {key!r}")
        if not isinstance(state[key], kind) or (kind is int and (type(state[key]) is bool or state[key] < 0)):
            raise ValueError(f"its key {key!r} is {str(state[key])[:80]}, not a {kind.__name__}")
    for name, tensor in state["model"].items():
        if type(name) is not str or not isinstance(tensor, torch.Tensor):
            raise ValueError(f"its key 'model' holds {str(name)[:80]!r}, which is no tensor with a name")
