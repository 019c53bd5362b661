"""Loss of power at every file operation of a run: what was not flushed is dropped or torn, what was not is absent."""

import atexit
import itertools
import os
import pickle
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.torture.disk import SHORT, Disk
from tests.torture.harness import Tally, start, uninterrupted
from utils.checkpoint import CheckpointError, read_checkpoint
from utils.checkpoint_folder import CheckpointFolder

NUM_TO_THE_END = 40  # of the states, how many are resumed with train.py and compared when it ends

Operation = tuple[str, str, Any]  # its name, its path, and the data or second path it is about


def powerloss(folder: Path, count: int, seed: int = 0) -> Tally:
    """count: the most states to look at; all of them are a few thousand."""
    tally, choose = Tally(), random.Random(seed)
    expected = uninterrupted(folder / "untouched", *SHORT)
    recorded = folder / "recorded"
    run = start(recorded, *SHORT, prepare=lambda: record(folder / "operations"))
    assert run.wait() == 0, run.output()
    operations = pickle.loads((folder / "operations").read_bytes())
    tally.counts["operations"] += len(operations)
    states = list(crash_states(operations))
    tally.counts["states in all"] += len(states)
    if len(states) > count:
        states = choose.sample(states, count)
    (run_path,) = (recorded / "saved/torture").glob("2*")
    to_the_end = set(choose.sample(range(len(states)), min(NUM_TO_THE_END, len(states), count // 5)))
    for number, (place, state) in enumerate(states):
        case = folder / "state"
        shutil.rmtree(case, ignore_errors=True)
        write_state(state, recorded, case)
        check_recovers(tally, case / run_path.relative_to(recorded), operations[:place], f"operation {place}")
        if number in to_the_end:
            tally.check_goes_on(expected, case, f"operation {place}", *SHORT, right="resumed")
    return tally


def check_recovers(tally: Tally, run: Path, done: list[tuple], what: str) -> None:
    """The newest checkpoint is there, the one that was linked last or the one being saved, and logs reach as far."""
    folder = CheckpointFolder(run / "checkpoints")
    committed = num_committed(done)
    links = [link for link in (run / "checkpoints").glob("*") if link.is_symlink()]
    tally.check(all(link.exists() for link in links), f"{what}: a link leads to nothing")
    for link in links:
        try:
            read_checkpoint(link)
        except CheckpointError as error:
            tally.check(False, f"{what}: {error}")
    found = folder.newest()
    step = found[1]["step"] if found else 0
    tally.check(step in (committed, committed + 1), f"{what}: step {committed} was saved, {step} is there", "recovered")
    logs = found[1]["logs"] if found else {}
    for name, length in logs.items():
        path = run / name
        data = path.read_bytes() if path.exists() else b""
        there = len(data.splitlines()) if name.endswith(".csv") else len(data)
        tally.check(there >= length, f"{what}: {name} has {there} of {length}")


def num_committed(done: list[tuple]) -> int:
    """How often last.pt has been linked and the flush of its folder has made that durable."""
    committed, is_linked = 0, False
    for operation, path, detail in done:
        if operation == "replace" and str(detail).endswith("/last.pt"):
            is_linked = True
        elif operation == "fsync" and path.endswith("/checkpoints") and is_linked:
            committed, is_linked = committed + 1, False
    return committed


# Recording.


def record(path: Path) -> None:
    """Write every operation in the current folder to a file, when the run is over."""
    operations: list[Operation] = []
    Disk(str(Path.cwd()), lambda *operation: operations.append(operation)).install()
    atexit.register(lambda: path.write_bytes(pickle.dumps(operations)))


# The model of a disk: names reach it when their folder is flushed, contents when the file is.


class File:
    """What is in a file, and how much of it is on the disk."""

    data = durable = b""


def crash_states(operations: list[Operation]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(operations done, what is on the disk then) for each way in which it may be there, by path."""
    names: dict[str, Any] = {}  # as programs see them: a File, the text of a link, or None for a folder
    flushed: dict[str, Any] = {}  # as they are on the disk
    waiting: list[tuple] = []  # changes of names that no flush of their folder has brought there
    for place, operation in enumerate([None, *operations]):
        if operation is not None:
            flushed, waiting = after(operation, names, flushed, waiting)
        on_disk = [applied(flushed, chosen) for chosen in subsets(waiting)]
        states = (
            {path: contents(entry, tear) for path, entry in disk.items()}
            for disk, tear in itertools.product(on_disk, ("dropped", "all", "torn", "zeros"))
        )
        yield from ((place, state) for state in {frozenset(state.items()): state for state in states}.values())


def after(operation: Operation, names: dict[str, Any], flushed: dict[str, Any], waiting: list[tuple]) -> tuple:
    """Do an operation in `names`; returns what is flushed and what is waiting then."""
    kind, path, detail = operation
    if kind == "open" and (path not in names or set("wx") & set(detail)):
        file = names.get(path) if isinstance(names.get(path), File) else File()
        file.data = b""
        if path not in names:
            waiting.append(("put", path, file))
        names[path] = file
    elif kind == "write":
        offset, data = detail
        file = names[path]
        file.data = file.data[:offset].ljust(offset, b"\0") + data + file.data[offset + len(data) :]
    elif kind == "truncate":
        names[path].data = names[path].data[:detail]
    elif kind in ("symlink", "mkdir") and path not in names:  # else it fails
        names[path] = detail if kind == "symlink" else None
        waiting.append(("put", path, names[path]))
    elif kind == "replace":
        names[detail] = names.pop(path)
        waiting.append(("move", path, detail))
    elif kind == "unlink" and names.pop(path, None) is not None:
        waiting.append(("drop", path, None))
    elif kind == "fsync" and isinstance(names.get(path), File):
        names[path].durable = names[path].data
    elif kind == "fsync":
        inside = [change for change in waiting if os.path.dirname(change[1]) == path]
        return applied(flushed, inside), [change for change in waiting if change not in inside]
    return flushed, waiting


def subsets(changes: list[tuple]) -> Iterator[list[tuple]]:
    """Which of the waiting changes have reached the disk: any, of the last eight."""
    early, late = changes[:-8], changes[-8:]
    for is_there in itertools.product((True, False), repeat=len(late)):
        yield early + list(itertools.compress(late, is_there))


def applied(names: dict[str, Any], changes: list[tuple]) -> dict[str, Any]:
    names = dict(names)
    for kind, path, detail in changes:
        if kind == "put":
            names[path] = detail
        elif path in names:
            entry = names.pop(path)
            if kind == "move":
                names[detail] = entry
    return names


def contents(entry: Any, tear: str) -> Any:
    """What a file holds after the loss: what was flushed, and of the rest nothing, all, half, or zeros."""
    if not isinstance(entry, File):
        return entry
    if not entry.data.startswith(entry.durable):  # overwritten in place
        return {"dropped": entry.durable, "all": entry.data}.get(tear, entry.data[: len(entry.data) // 2])
    rest = entry.data[len(entry.durable) :]
    kept = {"dropped": b"", "all": rest, "torn": rest[: len(rest) // 2], "zeros": bytes(len(rest))}[tear]
    return entry.durable + kept


def write_state(state: dict[str, Any], recorded: Path, case: Path) -> None:
    """Make the files of a state, below `case` in place of `recorded`."""
    (case / "saved/torture").mkdir(parents=True)
    for path, content in sorted(state.items()):
        target = case / Path(path).relative_to(recorded)
        target.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            target.mkdir(exist_ok=True)
        elif isinstance(content, str):
            target.symlink_to(content)
        else:
            target.write_bytes(content)
