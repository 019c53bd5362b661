"""What is told to the user in one message, without a traceback."""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path


class UserError(ValueError):
    """The user's mistake: the message says what is wrong, where, and what to do; scripts print it and exit with 2."""


def too_few_scores(highest_class: int, num_scores: int) -> UserError:
    return UserError(
        f"model.args: the data have class {highest_class}, but the model gives {num_scores} scores, for classes 0 to "
        f"{num_scores - 1}: raise model.args.num_classes, or what else says how many it gives"
    )


class RunError(RuntimeError):
    """A run failed, and its message tells more than a traceback would; scripts print it and exit with 1."""


def is_devices(error: Exception) -> bool:
    """Whether the device has failed or is out of memory: torch's errors for that are RuntimeErrors too."""
    torch = sys.modules["torch"]
    return isinstance(error, (torch.OutOfMemoryError, torch.AcceleratorError))


def is_torchs(error: Exception) -> bool:
    """Whether a line of torch raised it: what torch refuses is told, an error in own code keeps its traceback."""
    return _is_of_torch(traceback.extract_tb(error.__traceback__)[-1])


def own_line_of(error: Exception) -> str:
    """The last line that is none of torch's on the way to an error: `model/lenet.py:47`."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = [frame for frame in frames if not _is_of_torch(frame)][-1]
    return f"{os.path.relpath(frame.filename)}:{frame.lineno}"


def _is_of_torch(frame: traceback.FrameSummary) -> bool:
    return Path(frame.filename).is_relative_to(Path(sys.modules["torch"].__file__).parent)


@contextlib.contextmanager
def placing_mistakes(origins: Mapping[tuple, object]) -> Iterator[None]:
    """Put file and line in front of a UserError that begins with a key of the config. origins: by the path of a key."""
    try:
        yield
    except UserError as mistake:
        key, _, _ = str(mistake).partition(":")
        origin = origins.get(tuple(int(part) if part.isdigit() else part for part in key.split(".")))
        raise (UserError(f"{origin}: {mistake}") if origin is not None else mistake) from mistake.__cause__
