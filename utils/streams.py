"""Standard output and error, and text that the locale cannot write."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from utils.errors import UserError


def prepare_streams() -> None:
    """Let a stream that the shell has closed (`>&-`) lead nowhere, and let no letter that one lacks end a run."""
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        stream = getattr(sys, name)
        if stream is None:  # a file opened later would get its number, and what a library prints
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_nowhere(stream: TextIO) -> None:
    """Whoever read this stream has gone, as in `... | head`: nothing that is still to come may fail because of it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def without_messages_of_libraries() -> Iterator[None]:
    """Let what a library writes to standard error by itself, and Python cannot filter, lead nowhere."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def telling_of_the_locale() -> Iterator[None]:
    """UserError for letters that an ASCII locale lacks, and for names that are no text in any."""
    try:
        for text in sys.argv:  # bytes that are no text could name a file, but not be written down
            text.encode()
        yield
    except UnicodeEncodeError as error:
        encoding = sys.getfilesystemencoding()
        if encoding == "utf-8" and error.reason != "surrogates not allowed":
            raise
        remedy = "set PYTHONUTF8=1 or LC_ALL=C.UTF-8, or rename it"
        raise UserError(f"{error.object!r} is no text in this locale ({encoding}): {remedy}") from error
