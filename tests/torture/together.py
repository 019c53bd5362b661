"""Two processes that train together: one is killed at a random instant, or some are asked to stop."""

import errno
import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.ranks import Ranks
from tests.torture import experiment
from tests.torture.disk import KILLED, fail_at
from tests.torture.harness import Tally, outcome, run_folder, status
from tests.torture.kill import check_clean
from utils.checkpoint import verify_checkpoint
from utils.run_folder import RunFolder

SLOWEST = 60  # seconds that the others may take to end
FSDP = ("trainer.parallel=fsdp",)
OUTCOMES: dict[tuple[str, ...], tuple[dict, float]] = {}  # of runs that nobody touched, by experiment and arguments
SHORT = ("trainer.epochs=1", "trainer.keep_last=1", "data_loader.num_workers=0")


def start(folder: Path, *arguments: str, prepare: Callable[[int], object] = lambda rank: None) -> Ranks:
    return Ranks(folder, 2, *experiment.write_configs(folder), *arguments, prepare=prepare)


def uninterrupted(folder: Path, *arguments: str) -> tuple[dict, float]:
    """What two processes that nobody touches end with, and after how many seconds; run once for all tortures."""
    key = (experiment.here.changes, *arguments)
    if key not in OUTCOMES:
        started = time.monotonic()
        processes = start(folder, *arguments)
        assert processes.wait() == [0, 0], processes.output()
        OUTCOMES[key] = outcome(folder), time.monotonic() - started
    return OUTCOMES[key]


def check_goes_on(expected: dict, folder: Path, tally: Tally, *arguments: str) -> None:
    processes = start(folder, "-r", "auto", f"data_loader.num_workers={random.choice([0, 1])}", *arguments)
    if tally.check(processes.wait() == [0, 0], f"{folder}, then: {processes.output()[-1000:]}", "resumed"):
        tally.check_same(expected, folder, str(folder))
    check_clean(folder, processes, tally)


def ranks(folder: Path, count: int, seed: int = 0, arguments: tuple[str, ...] = ()) -> Tally:
    """SIGKILL of one of two."""
    tally, choose = Tally(), random.Random(seed)
    expected, seconds = uninterrupted(folder / "untouched", *arguments)
    for number in range(count):
        case = folder / f"kill-{number}"
        while not kill_one(case, choose, tally, seconds, *arguments):
            shutil.rmtree(case)
        check_goes_on(expected, case, tally, *arguments)
    return tally


def ranks_fsdp(folder: Path, count: int, seed: int = 0) -> Tally:
    """The same with checkpoints that both write; most of the run's time goes into these."""
    return ranks(folder, count, seed, FSDP)


def ranks_disk(folder: Path, count: int, seed: int = 0) -> Tally:
    """One of two is killed, or finds the disk full, at each file operation of a run whose checkpoints both write."""
    tally, choose, length = Tally(), random.Random(seed), (*FSDP, *SHORT)
    expected, _ = uninterrupted(folder / "untouched", *length)
    for failing, number in itertools.product((0, 1), (KILLED, errno.ENOSPC)):
        num_operations = fail_one(folder / f"counted-{failing}-{number}", length, failing, 0, number)[1]
        tally.counts[f"operations of process {failing}"] = num_operations
        for place in sorted(choose.sample(range(1, num_operations + 1), min(count, num_operations))):
            case = folder / f"{failing}-{number}-{place}"
            processes, num_done = fail_one(case, length, failing, place, number)
            codes, output = [run.code for run in processes.runs], processes.output()
            what = f"{case}: {codes}"
            if num_done < place:  # of two saves that end together, one may leave less to delete
                tally.check(codes == [0, 0], f"{what} {output[-1500:]}", "had ended before")
                shutil.rmtree(case)
                continue
            tally.check("Traceback" not in output, f"{what} {output[-1500:]}")
            # After the last save the main one is alone, and the other has ended.
            if number != KILLED and tally.check(codes in ([1, 1], [1, failing]), what, "exit code 1"):
                tally.check(os.strerror(number) in output, f"{what}: no reason in {output[-500:]}")
                tally.check(not list(case.glob("saved/**/.*.tmp")), f"{what}: partial files")
            for path in case.glob("saved/torture/2*/checkpoints/*.pt"):
                verify_checkpoint(path)
            for path in case.glob("saved/torture/2*"):
                if not RunFolder(path).is_usable:
                    shutil.rmtree(path)
            check_goes_on(expected, case, tally, *length)
            shutil.rmtree(case)
    return tally


def fail_one(case: Path, length: tuple[str, ...], failing: int, place: int, number: int) -> tuple[Ranks, int]:
    """Two processes, of which one fails at a file operation; and how many of these it has come to."""
    note = case.with_suffix(".operations")
    case.mkdir(parents=True)

    def prepare(rank: int) -> None:
        if rank == failing:
            fail_at(case / "saved", place, number, note)

    processes = start(case, *length, prepare=prepare)
    processes.wait(SLOWEST)
    return processes, len(note.read_text().splitlines())


def kill_one(case: Path, choose: random.Random, tally: Tally, seconds: float, *arguments: str) -> bool:
    """False when the run came to its end before the kill."""
    processes, killed = start(case, *arguments), choose.choice([0, 1])
    time.sleep(choose.uniform(0.1, 0.9) * seconds)
    processes.runs[killed].kill()
    codes, output = processes.wait(SLOWEST), processes.output()
    if codes[killed] != -9 or "finished;" in output:
        return False
    tally.check(codes[1 - killed] != -9, f"{case}: the other did not end: {output[-500:]}")
    tally.check("Traceback" not in output, f"{case}: {output[-1000:]}")
    tally.counts[f"process {killed} killed"] += 1
    if list(case.glob("saved/torture/2*/checkpoints/step-*.*-*/.*.tmp")):
        tally.counts["inside the writing of a part"] += 1
    for path in case.glob("saved/torture/2*"):
        if not RunFolder(path).is_usable:  # it has failed before its first checkpoint: `-r auto` begins anew
            tally.counts["before the first checkpoint"] += 1
            shutil.rmtree(path)
    return True


def ranks_stop(folder: Path, count: int, seed: int = 0) -> Tally:
    """SIGTERM to both, as torchrun passes it on, or to one: both stop at the same step, with one checkpoint."""
    tally, choose = Tally(), random.Random(seed)
    expected, _ = uninterrupted(folder / "untouched")
    for number in range(count):
        case, asked = folder / f"stop-{number}", choose.choice([(0, 1), (0, 1), (0,), (1,)])
        processes = start(case)
        step = choose.randint(1, 9)  # of twelve; before the first checkpoint there is nothing to stop
        while not any(int(path.stem[5:]) >= step for path in case.glob("saved/torture/2*/checkpoints/step-*.pt")):
            time.sleep(0.002)
        time.sleep(choose.uniform(0, 0.1))
        for each in asked:
            os.kill(processes.runs[each].pid, signal.SIGTERM)
        codes = processes.wait(SLOWEST)
        if tally.check(codes in ([143, 143], [0, 0]), f"{case}: {codes} {processes.output()[-1000:]}"):
            tally.counts["stopped" if codes[0] else "had ended"] += 1
        tally.check(status(case) == ("stopped" if codes[0] else "finished"), f"{case}: {status(case)}")
        tally.check((run_folder(case) / "checkpoints/last.pt").exists(), f"{case}: no checkpoint")
        tally.check("Traceback" not in processes.output(), f"{case}: {processes.output()[-1000:]}")
        if codes[0]:
            check_goes_on(expected, case, tally)
        else:
            tally.check_same(expected, case, str(case))
    return tally
