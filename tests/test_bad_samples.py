"""Samples that cannot be read, and loader processes that die: named, or left out where that is allowed."""

import gc
import multiprocessing
import os
import signal
import sys
import time

import pytest
import torch
from torch.utils.data import Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from base import DATASETS
from data_loader.samples import DataError, SampleError
from tests.running import assert_same_state, loader_of, resume, rows, state_of, status, train

DATA = "dataset={type: Holed, args: {bad: [7, 19]}}"
both_ways = pytest.mark.parametrize("num_workers", [0, 2])


@DATASETS.register
class Holed(Dataset):
    """Vectors of eight numbers; at a bad one it is `broken`, `raises`, has another `size`, or the process `dies`.

    Or it `dies locking` what it shares with the others: the event by which torch tells them to end.
    """

    def __init__(self, split, bad: list[int], fault: str = "broken", batched: bool = False, size: int = 40):
        self.bad, self.fault, self.size = bad if split == "train" else [], fault, size if split == "train" else 8
        if batched:
            self.__getitems__ = self.take

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if index in self.bad and self.fault == "dies locking":
            frame = sys._getframe()
            while "done_event" not in frame.f_locals:  # of torch's loop
                frame = frame.f_back
            frame.f_locals["done_event"]._cond.acquire()
        if index in self.bad and self.fault.startswith("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        if index in self.bad and self.fault == "broken":
            raise OSError(f"{index} is broken")
        if index in self.bad and self.fault == "raises":
            raise KeyError("no such thing")
        return torch.full((9 if index in self.bad else 8,), float(index)), index % 3

    def take(self, indices):
        if self.fault == "unsendable":
            return torch.zeros(len(indices), 8), lambda: 0
        if set(indices.tolist()) & set(self.bad):
            raise OSError("something is broken")
        return torch.stack([torch.full((8,), float(i)) for i in indices]), indices % 3

    def name_of(self, index):
        return f"file{index}.bin"


def holed(num_workers, skip=0, **args):
    settings = {"num_workers": num_workers, "skip_bad_samples": skip, "batch_size": 8}
    return loader_of("Holed", training=False, args={"bad": [7, 19], **args}, **settings)


@pytest.fixture
def looked_at_often(monkeypatch):
    """Torch looks every fifth of a second whether its processes are alive; what waits for ever fails after a minute."""

    def give_up(number, frame):
        raise TimeoutError("nothing comes")

    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.2,))  # instead of five seconds
    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 60, 10)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@both_ways
@pytest.mark.parametrize("batched", [False, True])
def test_bad_samples_are_left_out_told_once_and_counted(num_workers, batched, caplog):
    loader = holed(num_workers, skip=2, batched=batched)
    for _ in range(2):
        batches = list(loader.batches())
        indices = torch.cat([batch.indices for batch in batches])
        assert indices.tolist() == [i for i in range(40) if i not in (7, 19)]
        assert torch.equal(torch.cat([batch.data[0] for batch in batches])[:, 0].long(), indices)
    assert len(caplog.records) == 2
    assert "sample 19 (file19.bin) could not be read: OSError: 19 is broken; left out, 2 of at most 2" in caplog.text


@both_ways
@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"batched": True}, DataError, r"sample 7 \(file7.bin\) could not be read: OSError: 7 is broken"),
        ({"skip": 1}, DataError, r"2 samples could not be read, and data_loader.skip_bad_samples is 1: sample 7 "
         r"\(file7.bin\), sample 19"),
        ({"skip": 40, "bad": [*range(40)]}, DataError, "no sample of a batch could be read: sample 0 .*; sample 1 "),
        ({"fault": "raises"}, SampleError, r"sample 7 \(file7.bin\) could not be read: KeyError: 'no such thing'"),
        ({"fault": "size"}, DataError, r"sample 0 \(file0.bin\) is \(\(8,\), 'int'\), sample 7 \(file7.bin\) is "
         r"\(\(9,\), 'int'\)\. Samples need one shape"),
        # What `__getitems__` made of it, not what reading one by one would.
        ({"fault": "size", "batched": True}, SampleError, r"7\] can be read, but not together: .*something is broken"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_samples_names_them(num_workers, settings, error, message):
    with pytest.raises(error, match=message) as caught:
        list(holed(num_workers, **settings).batches())
    if settings.get("fault") != "raises":
        return
    if num_workers == 0:
        assert isinstance(caught.value.__cause__, KeyError)
    else:
        assert 'raise KeyError("no such thing")' in str(caught.value)  # the worker's traceback, as text


@pytest.mark.usefixtures("looked_at_often")
@pytest.mark.parametrize("fault", ["dies", "dies locking"])
def test_a_process_that_dies_of_a_sample_names_it_at_once(fault):
    started = time.monotonic()
    told = r"(?s)a loader process died in epoch 0, while it read sample 7 \(file7.bin\): .*Out of memory is the usual"
    with pytest.raises(DataError, match=told):
        list(holed(num_workers=2, fault=fault).batches())
    assert time.monotonic() - started < 10  # 0.3 s on a machine that does nothing else; ten for each process before


@pytest.mark.usefixtures("looked_at_often")
def test_a_process_that_dies_between_batches_blames_no_sample():
    others, loader = multiprocessing.active_children(), holed(num_workers=2, bad=[])
    list(loader.batches())
    for worker in {*multiprocessing.active_children()}.difference(others):
        worker.kill()
    with pytest.raises(DataError, match=r"^a loader process died in epoch 1: "):
        list(loader.batches(epoch=1))


def test_processes_are_started_all_or_none(capfd):
    resource = pytest.importorskip("resource")  # not on Windows
    gc.collect()  # what other tests have left open would be told within the limit
    before, limits = {*multiprocessing.active_children()}, resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(free := os.dup(0))
    started = time.monotonic()
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 30, limits[1]))
    try:
        with pytest.raises(DataError, match=r"loader process \d+ of 16 cannot be started: .*Too many open files"):
            list(holed(num_workers=16, bad=[]).batches())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert time.monotonic() - started < 20  # 1 s on a machine that does nothing else; five for each process before
    assert before >= {*multiprocessing.active_children()} and capfd.readouterr().err == ""


@pytest.mark.usefixtures("looked_at_often")
def test_a_batch_that_cannot_be_handed_over_is_not_waited_for():
    """As where shared memory or file descriptors are used up."""
    told = r"cannot hand over a batch in epoch 0: .*Can't pickle.*\nLower data_loader.num_workers"
    with pytest.raises(DataError, match=told):
        list(holed(num_workers=2, batched=True, fault="unsendable").batches())


@both_ways
def test_what_cannot_be_read_is_told_without_a_traceback_and_the_run_can_go_on_without(num_workers, tmp_path, capsys):
    stopped = train(tmp_path, DATA, f"data_loader.num_workers={num_workers}", "--name", "stopped", code=1)
    told = "could not be read: OSError: {} is broken; mend it, take it out, or set data_loader.skip_bad_samples"
    error = capsys.readouterr().err
    assert (told.format(7) in error or told.format(19) in error) and "Traceback" not in error
    assert "could not be read" in (stopped / "train.log").read_text() and status(stopped) == "failed"
    resume(stopped, "data_loader.skip_bad_samples=2")
    whole = train(tmp_path, DATA, "data_loader.skip_bad_samples=2")
    assert_same_state(state_of(stopped), state_of(whole))
    assert len(rows(whole)) == 2
