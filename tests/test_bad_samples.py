"""Samples that cannot be read, and loader processes that die: named, or left out where that is allowed."""

import os
import signal
import time

import pytest
import torch
from torch.utils.data import Dataset

from base import DATASETS
from config.schema import DataLoaderConfig, DatasetConfig
from data_loader.build import build_loader
from data_loader.samples import DataError

CPU = torch.device("cpu")
DATA = "dataset={type: Holed, args: {bad: [7, 19]}}"


@DATASETS.register
class Holed(Dataset):
    """Vectors of eight numbers, of which some cannot be read."""

    def __init__(self, split, bad: list[int], dies: bool = False, batched: bool = False, size: int = 40):
        self.bad, self.dies, self.size = bad, dies, size if split == "train" else 8
        if batched:
            self.__getitems__ = self.take

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if index in self.bad and self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        if index in self.bad and self.size == 40:
            raise OSError(f"{index} is broken")
        return torch.full((8,), float(index)), index % 3

    def take(self, indices):
        if set(indices.tolist()) & set(self.bad):
            raise OSError("something is broken")
        return torch.stack([torch.full((8,), float(i)) for i in indices]), indices % 3

    def name_of(self, index):
        return f"file{index}.bin"


def loader_of(num_workers=0, skip=0, **args):
    settings = DataLoaderConfig(batch_size=8, num_workers=num_workers, skip_bad_samples=skip)
    return build_loader(DatasetConfig(type="Holed", args={"bad": [7, 19], **args}), settings, "train", 1, CPU)


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batched", [False, True])
def test_bad_samples_are_left_out_told_once_and_counted(num_workers, batched, caplog):
    loader = loader_of(num_workers, skip=2, batched=batched)
    for _ in range(2):
        batches = list(loader.batches())
        indices = torch.cat([batch.indices for batch in batches])
        assert indices.tolist() == [i for i in range(40) if i not in (7, 19)]
        assert torch.equal(torch.cat([batch.data[0] for batch in batches])[:, 0].long(), indices)
    assert len(caplog.records) == 2
    assert "sample 19 (file19.bin) could not be read: OSError: 19 is broken; left out, 2 of at most 2" in caplog.text


@pytest.mark.parametrize("num_workers", [0, 2])
def test_one_bad_sample_too_many(num_workers):
    message = r"2 samples could not be read, and data_loader.skip_bad_samples is 1: sample 7 \(file7.bin\), sample 19"
    with pytest.raises(DataError, match=message):
        list(loader_of(num_workers, skip=1).batches())


@pytest.mark.parametrize("batched", [False, True])
def test_by_default_the_first_one_ends_the_run(batched):
    with pytest.raises(DataError, match=r"sample 7 \(file7.bin\) could not be read: OSError: 7 is broken"):
        list(loader_of(batched=batched).batches())


def test_a_batch_of_which_nothing_is_left():
    with pytest.raises(DataError, match=r"no sample of a batch could be read: sample 0 .*; sample 1 "):
        list(loader_of(skip=40, bad=list(range(40))).batches())


def test_a_process_that_dies_of_a_sample_names_it():
    started = time.monotonic()
    with pytest.raises(DataError, match=r"died in epoch 0, while it read sample 7 \(file7.bin\): "):
        list(loader_of(num_workers=1, dies=True).batches())
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_cannot_be_read_is_told_without_a_traceback(num_workers, tmp_path, capsys):
    from tests.running import train

    run = train(tmp_path, DATA, f"data_loader.num_workers={num_workers}", code=1)
    told = "could not be read: OSError: {} is broken; mend it, take it out, or set data_loader.skip_bad_samples"
    error = capsys.readouterr().err
    assert (told.format(7) in error or told.format(19) in error) and "Traceback" not in error
    assert "could not be read" in (run / "train.log").read_text() and "failed" in (run / "run.json").read_text()


def test_a_run_goes_on_without_the_bad_samples(tmp_path):
    from tests.running import assert_same_state, resume, rows, state_of, train

    train(tmp_path, DATA, "--name", "stopped", code=1)
    (stopped,) = (tmp_path / "saved/stopped").glob("2*")
    resume(stopped, "data_loader.skip_bad_samples=2")
    whole = train(tmp_path, DATA, "data_loader.skip_bad_samples=2", "data_loader.num_workers=2")
    assert_same_state(state_of(stopped), state_of(whole))
    assert len(rows(whole)) == 2
