"""Several runs of a sweep at once: processes that import once, each with its share of the cores."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import wait

from script import exit_code_of
from utils.errors import RunError
from utils.signals import StopSignals


def work_at_once(options: argparse.Namespace) -> int:
    """Have `--jobs` processes do the runs of a sweep; returns the exit code. RunError where one was killed."""
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=_work, args=(options, place), name=f"job {place}") for place in range(options.jobs)]
    with StopSignals() as signals:
        for job in jobs:
            job.start()
        is_told = False
        while alive := [job.sentinel for job in jobs if job.is_alive()]:
            wait(alive, timeout=0.2)
            if signals.received is not None and not is_told:
                is_told = True
                for job in jobs:
                    job.terminate()  # SIGTERM: in training, it saves where it is
    if signals.received is not None:
        return 128 + signals.received
    codes = [job.exitcode for job in jobs]
    if killed := next((code for code in codes if code < 0), None):
        raise RunError(f"a job was ended by signal {-killed}; the same command again goes on with the sweep")
    return max(codes)


def _work(options: argparse.Namespace, place: int) -> None:
    """What a job does. Torch, which counts the cores, is imported when it has its own."""
    _take_cores(place, options.jobs)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(exit_code_of(_do_runs, lambda argv: options, None))


def _do_runs(options: argparse.Namespace) -> int:
    from commands.sweeping import open_sweep

    return open_sweep(options).work()


def _take_cores(place: int, num_jobs: int) -> None:
    """This job's share of the cores: torch's threads and loader processes are counted by it."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        share = max(1, len(cores) // num_jobs)
        first = place * share % len(cores)
        os.sched_setaffinity(0, cores[first : first + share])
    else:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_jobs)))


def _end_with_parent() -> None:
    """Stop, with a checkpoint, where sweep.py itself was killed."""
    wait([multiprocessing.parent_process().sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
