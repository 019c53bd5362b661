"""A sweep: runs of one experiment that any number of processes do together, killed and begun again as often as may be.

Who does what is settled by locks of the kernel, which are free as soon as their process is dead: one for the records of
the sweep, held for a moment, and one for each run, held from when a process takes it until its result is written down.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from commands.sweep_code import digest_of_code
from config.load import check_config, read_config
from config.problems import dotted
from config.schema import Config
from config.yaml_reader import Document, read_file, read_text
from config.yaml_writer import write_yaml
from script import load_registries, tell
from utils.distributed import num_ranks
from utils.errors import UserError, telling_of_memory
from utils.files import fcntl, make_folder, write_durably
from utils.machine import git_state
from utils.run_folder import RunFolder, check_save_dir, parent_of_runs

CPU = torch.device("cpu")
# What a sweep may go on with otherwise: no result depends on it.
MAY_CHANGE = {
    *("device", "data_loader.num_workers", "data_loader.on_device", "trainer.save_dir", "trainer.save_every"),
    *("trainer.keep_last", "trainer.log_every", "trainer.loggers", "trainer.tensorboard", "trainer.progress"),
}


class TaskLock:
    """Keeps other processes from a task, as long as this one lives. BlockingIOError where another has it."""

    def __init__(self, path: Path):
        self.path = path
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(lock(path, waits=False))

    def __enter__(self) -> TaskLock:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


class Task(NamedTuple):
    """One run of a sweep. label: such as `seed 42`; overrides: in what it differs; lock: held while it is under way."""

    label: str
    overrides: list[str]
    run: RunFolder
    lock: TaskLock


class Sweep:
    """What folds and seeds have in common with a search: the folder, the records, how a run is trained.

    A subclass says in `about` (plain data) what it does besides the config, and which runs there are: `claim` takes one
    of those left, `do` sees to it, `conclude` tells of all.
    """

    record_name: str  # of the file that says what the sweep is of
    may_grow: tuple[str, ...] = ()  # what of `about` may be more than it was
    num_runs: int

    def __init__(self, options: argparse.Namespace, config: Config):
        self.about: dict[str, Any] = {}
        self.files = options.config
        self.overrides = options.overrides
        self.config = config
        self.parent = parent_of_runs(config.trainer.save_dir, config.name)
        self.folder = self.parent / "sweep"

    def work(self) -> int:
        """Do the runs that nobody else does until none is left; returns the exit code, of a stop that of the signal."""
        while (task := self.claim()) is not None:
            with task.lock:
                task.run.lock()
                if (code := self.do(task)) != 0:
                    return code
        return 0

    def claim(self) -> Task | None:
        raise NotImplementedError

    def do(self, task: Task) -> int:
        raise NotImplementedError

    def conclude(self, code: int) -> int:
        raise NotImplementedError

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """The records of the sweep belong to this process."""
        with lock(self.folder / ".records.lock"):  # runs.py takes what has a .lock for a run
            yield

    def taken(self, name: str) -> TaskLock | None:
        """The lock of a task; None where another process has it."""
        with contextlib.suppress(BlockingIOError):
            return TaskLock(self.folder / f".{name}.lock")
        return None

    def begin(self) -> None:
        """Note what the sweep is of. UserError where its folder holds another, or its runs had other data."""
        check_save_dir(self.config.trainer.save_dir, self.config.name)
        path = self.folder / self.record_name
        make_folder(self.folder)
        with self.locked():
            code = {"commit": git_state(Path(__file__).parent)["commit"], "code": digest_of_code()}
            now = {**self.about, **code, "data": self._fingerprint(), "config": self.config.model_dump()}
            if path.exists():
                before = read_file(str(path)).data
                self._check_same(before, read_text(write_yaml(now), str(path)).data)
                now |= {key: before[key] for key in code if key in before}  # of the first runs, to be told each time
            text = write_yaml(now)
            write_durably(path, lambda file: file.write(text.encode()))

    def _check_same(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        """UserError with all in which two records differ; of other code a warning tells."""
        from resuming import changes_of_data, differences, written

        if any(before.get(key, now[key]) != now[key] for key in ("commit", "code")):
            tell(f"warning: the code is not that of the first of these runs, commit {before.get('commit')}")
        changes = [
            f"{dotted(key)} {written(new)}, not {written(old)}"
            for key, old, new in differences(before, now)
            if key[0] not in ("commit", "code", "data") and not {dotted(key[1:2]), dotted(key[1:3])} & MAY_CHANGE
            if not (key[0] in self.may_grow and new > old)
        ]
        if changes:
            remedy = "give this one another name (name=NAME), or delete that folder"
            raise UserError(f"{self.folder} holds another sweep: {'; '.join(changes)[:1500]}; {remedy}")
        if told := changes_of_data(before["data"], now["data"]):
            raise UserError(
                f"these are not the data of {self.folder}: {told}; bring them back, or begin another: name=NAME"
            )

    def _fingerprint(self) -> dict[str, Any]:
        """By what the data are known again, all parts that are used. UserError where one is not to be had."""
        from data_loader.build import build_loader, build_loaders
        from data_loader.facts import digest_of_contents, digest_of_samples, fingerprint_of, preprocessing_of

        dataset, data_loader, seed = self.config.dataset, self.config.data_loader, self.config.seed
        train_loader, valid_loader = build_loaders(dataset, data_loader, seed, CPU)
        for note in getattr(train_loader.dataset, "notes", ()):
            print(note, flush=True)
        found = fingerprint_of(train_loader, valid_loader)
        if self.scored_part(valid_loader is not None) == "test":
            fitted = preprocessing_of(train_loader.dataset)
            loader = build_loader(dataset, data_loader, "test", seed, CPU, preprocessing=fitted)
            found["num_samples"]["test"] = loader.num_samples
            found["samples"]["test"], found["contents"]["test"] = digest_of_samples(loader), digest_of_contents(loader)
        return found

    def scored_part(self, has_validation: bool) -> str:
        """The part of the data that the scores are of."""
        raise NotImplementedError

    def run_of(self, name: str | None) -> RunFolder:
        """The folder of a run that was begun, or a new one."""
        path = self.parent / (name or "")
        is_there = name is not None and path.is_dir()
        return RunFolder(path) if is_there else RunFolder.create(self.config.trainer.save_dir, self.config.name)

    def read(self, overrides: Sequence[str]) -> tuple[Config, Document]:
        document = read_config(self.files, [*self.overrides, *overrides])
        return check_config(document, load_registries), document

    def train(self, task: Task, watch: Callable[[Any], object] = lambda trainer: None) -> tuple[int, Any]:
        """Train a run, or go on with it, as train.py would; returns the exit code and the trainer.

        watch: gets the trainer before it begins. ConfigError, UserError or RunError where the config makes no run.
        """
        from experiment import build_trainer, train_in_folder
        from resuming import check_resumable, find_checkpoint, load_checkpoint
        from trainer.rehearsal import rehearse, warm_up

        config, document = self.read(task.overrides)
        run = task.run
        if (checkpoint := find_checkpoint(run, "auto")) is None:
            run.write_config(write_yaml(config.model_dump()))
        else:
            check_resumable(run, checkpoint, config, document)
        with quiet(), telling_of_memory(lambda: "at the start", config.data_loader.batch_size):
            trainer = build_trainer(config, checkpoint and checkpoint[1])
            if checkpoint is None:
                rehearse(trainer)
            else:
                load_checkpoint(trainer, *checkpoint)
            warm_up(trainer)
            watch(trainer)
            with trainer.stopping:
                return train_in_folder(run, trainer, config, checkpoint), trainer


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Runs side by side write to their train.log alone."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


@contextlib.contextmanager
def lock(path: Path, waits: bool = True) -> Iterator[None]:
    """Keeps other processes out. BlockingIOError where one has it and this one does not wait; nothing on Windows."""
    with open(path, "a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX if waits else fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not waits:  # it is held for long, and a loader process may outlive this one
            os.register_at_fork(after_in_child=file.close)
        yield


def open_sweep(options: argparse.Namespace) -> Sweep:
    """The sweep that the options ask for. ConfigError or UserError with what is wrong with it."""
    if num_ranks() > 1:
        raise UserError(
            "sweep.py does runs of one process each, several at once with --jobs N: start it without torchrun"
        )
    if options.trials is None:
        from commands.sweep_repeats import Repeats

        sweep: Sweep = Repeats(options)
    else:
        from commands.sweep_search import Search

        sweep = Search(options)
    if sweep.config.trainer.max_time is not None:
        raise UserError("trainer.max_time: a run that its time ends is compared with none; expected null in a sweep")
    if sweep.config.data_loader.overfit_batches is not None:
        raise UserError(
            "data_loader.overfit_batches: what is learned by heart tells of nothing; expected null in a sweep"
        )
    return sweep
