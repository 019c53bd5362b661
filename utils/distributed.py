"""The processes of one run, as torchrun starts them: who this one is, and what they do together.

A process alone is rank 0 of 1, and everything here costs it nothing. Whatever gathers or sums is a collective: every
process must call it, in the same order.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from utils.errors import RunError, UserError

if TYPE_CHECKING:
    import torch

TOLD = "told"  # under which the first process to tell a mistake says so
ENDED = "ended"  # that of the main process
# What gloo's and NCCL's errors say where another process is gone or does not answer.
LOST = ("gloo", "Connection closed", "Connection reset", "Broken pipe", "NCCL", "Socket Timeout", "Timed out")

_store: Any = None  # while processes have joined


@cache
def rank() -> int:
    """The place of this process among all."""
    return int(os.environ.get("RANK", 0)) if num_ranks() > 1 else 0


@cache
def num_ranks() -> int:
    """How many processes train together, on all machines."""
    return int(os.environ.get("WORLD_SIZE", 1))


@cache
def of_rank() -> tuple[int, ...]:
    """What makes a seed this process's own, for the main one nothing: its random numbers are those of a run alone."""
    return (rank(),) if rank() else ()


@cache
def local_rank() -> int:
    """The place of this process among those of its machine: the number of its GPU."""
    return int(os.environ.get("LOCAL_RANK", 0)) if num_ranks() > 1 else 0


@cache
def num_local_ranks() -> int:
    """How many processes share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1)) if num_ranks() > 1 else 1


def is_main() -> bool:
    """Whether this process is the one that writes, logs and prints."""
    return rank() == 0


def is_restarted() -> bool:
    """Whether torchrun has started these processes anew, after one has failed."""
    return num_ranks() > 1 and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def silence_others() -> None:
    """Have all but the main process print, log and warn nothing: what they would say, it says too."""
    if not is_main():
        import logging  # which a start alone does not need yet
        import warnings

        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        logging.disable()
        warnings.simplefilter("ignore")


@contextmanager
def joined(device: str, seconds: float) -> Iterator[None]:
    """Meet the other processes. RunError where one has ended, or is not heard of for so many seconds.

    device: as in a config. After an error the others are not asked for anything: they may be in the middle of something
    else, and learn of it by the end of this process.
    """
    global _store
    if num_ranks() == 1:
        yield
        return
    from datetime import timedelta

    import torch.distributed as dist

    backend = "cpu:gloo,cuda:nccl" if device_of_rank(device).startswith("cuda") else "gloo"
    timeout = timedelta(seconds=seconds)
    try:
        store, place, total = next(dist.rendezvous("env://", timeout=timeout))
        if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":  # machines of a group count their restarts each for itself
            store = dist.PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)  # not of before
        _store = store
        dist.init_process_group(backend, store=_store, rank=place, world_size=total, timeout=timeout)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"the {num_ranks()} processes of this run do not meet: {_first_line(error)}") from error
    try:
        with telling_of_others():
            yield
    finally:
        if is_main():  # also after an error, when it has written all that it will
            with contextlib.suppress(RuntimeError):
                _store.set(ENDED, "")
    _wait_for_main(_store)
    dist.destroy_process_group()
    _store = None


def _wait_for_main(store: Any) -> None:
    """Wait until the main process has written everything: torchrun ends it soon after another has ended."""
    with contextlib.suppress(RuntimeError):  # the main one may have had the store
        store.wait([ENDED])


def summed(*numbers: float) -> list[float]:
    """The sum of each over all processes, the same bits in all."""
    if num_ranks() == 1:
        return list(numbers)
    import torch
    import torch.distributed as dist

    totals = torch.tensor(numbers, dtype=torch.float64)
    dist.all_reduce(totals)
    return totals.tolist()


def anywhere(flag: torch.Tensor) -> torch.Tensor:
    """Whether the flag, 1.0 or 0.0 in a tensor () on any device, is set in any process."""
    if num_ranks() > 1:
        import torch.distributed as dist

        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
    return flag


def gathered(value: Any) -> list[Any]:
    """What each process has given, by rank. value: plain data and tensors on the CPU."""
    if num_ranks() == 1:
        return [value]
    import torch.distributed as dist

    values = [None] * num_ranks()
    dist.all_gather_object(values, value)
    return values


def from_main(value: Any) -> Any:
    """What the main process has given."""
    return gathered(value)[0]


def told_by_another(error: BaseException) -> str | None:
    """What another process has told of, where one has failed before; else it is for this one to tell of its error.

    Before the processes have met, all find the same mistakes, and the main one tells; torchrun then ends the others
    while they wait here. Who is still there has found what the main one has not, such as a file that is missing on its
    machine. After that it is whoever fails first; the others wait a moment for the main one, which may have the same
    to say.
    """
    if _store is None:
        time.sleep(0 if is_main() else 5 + local_rank())
        return None
    import threading

    if not is_main():
        time.sleep(0.5)
    mine = f"process {rank()}: {error}"
    answers: list[str] = []

    def ask() -> None:
        with contextlib.suppress(RuntimeError):  # the store is gone with torchrun, or with the main process
            answers.append(_store.compare_set(TOLD, "", mine).decode())

    asking = threading.Thread(target=ask, daemon=True)  # over a cut line it waits for ever
    try:
        asking.start()
        asking.join(timeout=10)
    except RuntimeError:  # no memory is left for a thread
        ask()
    return next((told for told in answers if told != mine), None)


def told_once(parse: Callable[[Any], Any], argv: Any) -> Any:
    """What a parser makes of the options, which are the same for all: one process tells what is wrong with them."""
    if is_main():
        return parse(argv)
    import io

    try:
        with contextlib.redirect_stderr(io.StringIO()) as told:
            return parse(argv)
    except SystemExit as end:
        if end.code and told_by_another(end) is None:
            print(f"process {rank()}: {told.getvalue()}", end="", file=sys.stderr)
        raise


def by_rank(error: BaseException) -> str:
    """What an error says, and in which process, where that is not the main one."""
    return str(error) if is_main() else f"process {rank()}: {error}"


@contextmanager
def telling_of_others() -> Iterator[None]:
    """RunError where another process has ended, or does not answer."""
    try:
        yield
    except RuntimeError as error:
        if num_ranks() == 1 or isinstance(error, RunError) or not any(word in str(error) for word in LOST):
            raise
        raise RunError(
            f"another process of this run has ended, or has not answered for trainer.timeout: {_first_line(error)}"
        ) from error


def device_of_rank(text: str) -> str:
    """Which device this process gets, as a config would name it. UserError where there are too few for all."""
    if num_ranks() == 1:
        return text
    import torch

    if text == "mps" or (text.startswith("cuda:") and num_local_ranks() > 1):
        raise UserError(f"device: found '{text}' for {num_local_ranks()} processes; expected auto, cuda or cpu")
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    if text != "cuda":
        return text
    if num_local_ranks() > (num_devices := torch.cuda.device_count()):
        raise UserError(
            f"torchrun started {num_local_ranks()} processes on a machine with {num_devices} GPUs: "
            f"give --nproc-per-node {num_devices or 1}, or device=cpu"
        )
    return f"cuda:{local_rank()}"


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
