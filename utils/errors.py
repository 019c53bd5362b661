"""What is told to the user in one message, without a traceback."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
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


# What RuntimeErrors say where CUDA, MPS, the CPU, and cuBLAS or cuDNN find no memory.
NO_MEMORY = ("out of memory", "can't allocate memory", "_STATUS_ALLOC_FAILED")

LATE = (
    "A GPU reports late: with CUDA_LAUNCH_BLOCKING=1 in front of the command, the traceback ends where it failed. "
    "A failed assert is most often a class in the targets that the model gives no score."
)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory has run out, on any device: torch has an error of its own for CUDA's allocator only."""
    says_so = isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    return isinstance(error, MemoryError) or (says_so and not isinstance(error, RunError))


def is_devices(error: Exception) -> bool:
    """Whether the device has failed or is out of memory: torch's errors for that are RuntimeErrors too."""
    return is_out_of_memory(error) or isinstance(error, sys.modules["torch"].AcceleratorError)


@contextlib.contextmanager
def telling_of_memory(where: Callable[[], str], batch_size: int) -> Iterator[None]:
    """RunError where memory runs out: where, what was asked for, what to do. Other errors of the device get a hint.

    where: what is under way, such as `in step 3`; asked for when it is known.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            asked = (str(error) or type(error).__name__).splitlines()[0]
            raise RunError(
                f"out of memory {where()}, with batches of {batch_size} (at {own_line_of(error)}): {asked}\n"
                "Lower data_loader.batch_size, and raise trainer.accumulate_steps as much to keep the step as it is; "
                "then try trainer.precision=bf16, and trainer.channels_last=true with pictures on a GPU. "
                "Or another process has the memory: `nvidia-smi` shows it for a GPU, `top` for the machine."
            ) from error
        if is_devices(error) and LATE not in getattr(error, "__notes__", ()):
            error.add_note(LATE)
        raise


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
