"""What goes wrong in one of several processes, or with their shares alone, is told once and in one message."""

import os
import resource
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from base import DATASETS, MODELS, TRAINERS, BaseModel
from data_loader.synthetic import Synthetic
from tests.ranks import Ranks, train_together
from tests.running import state_of, status, steps_saved
from tests.test_bad_samples import DATA
from tests.together.test_training import CONFIG, DDP, FSDP, assert_close, start
from trainer.trainer import Trainer
from utils.distributed import rank

BAD = (DATA.replace("[7, 19]", "[7, 8, 19, 20, 31]"), "data_loader.skip_bad_samples=5", "trainer.epochs=1")


@pytest.mark.parametrize("settings", [(), ("data_loader.num_workers=1",), ("trainer.log_every=100",)])
def test_samples_that_any_process_has_left_out_are_told_and_counted(tmp_path, settings):
    run = train_together(tmp_path, 2, *BAD, *settings, config=CONFIG)
    assert (run / "train.log").read_text().count("; left out, ") == 5


def test_processes_do_not_leave_out_more_together_than_one_may(tmp_path):
    ranks = start(tmp_path, 2, *BAD, "data_loader.skip_bad_samples=4", "trainer.log_every=100")
    assert ranks.wait() == [1, 1]
    assert ranks.output().count("5 samples could not be read, and data_loader.skip_bad_samples is 4") == 1


@pytest.mark.parametrize("settings", [(), ("data_loader.num_workers=1",), ("trainer.accumulate_steps=3",)])
def test_a_process_that_can_read_none_of_its_share_goes_on_with_the_others(tmp_path, settings):
    """Of each two samples of a process, four processes having eight, both may be bad in some step."""
    bad = (DATA.replace("[7, 19]", str([*range(3, 40, 3)])), "data_loader.skip_bad_samples=13", *settings)
    one = train_together(tmp_path / "one", 1, *bad, config=CONFIG)
    run = train_together(tmp_path, 4, *bad, config=CONFIG)
    assert_close(run, one)
    assert (run / "train.log").read_text().count("; left out, ") == 13


@MODELS.register
class Normed(BaseModel):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))

    def forward(self, inputs):
        return self.layers(inputs)


@MODELS.register
class Scaled(BaseModel):
    def __init__(self):
        super().__init__()
        self.scale, self.layer = nn.Parameter(nn.Linear(1, 1).bias.detach()[0]), nn.Linear(8, 3)

    def forward(self, inputs):
        return self.layer(inputs) * self.scale


@MODELS.register
class Branching(BaseModel):
    """In one process, a batch after some others goes past its first layer."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.num_calls = nn.Linear(8, 8), nn.Linear(8, 3), 0

    def forward(self, inputs):
        self.num_calls += self.training and inputs.requires_grad is False
        is_left_out = self.num_calls > 8 and self.num_calls % 2 and rank() == 1
        return self.second(inputs if is_left_out else self.first(inputs))


@pytest.mark.parametrize(
    ("settings", "message", "code"),
    [
        (("model=Normed",), "data_loader.batch_size: the last batch of an epoch has 5 samples for 4 processes", 2),
        (("model=Scaled", FSDP), "fsdp divides no parameter without an axis, as scale of this model", 2),
        (("model=Branching",), "a part of the model that a first batch has gone through is left out", 1),
    ],
)
def test_a_model_that_several_processes_cannot_train_is_told_once(tmp_path, settings, message, code):
    ranks = start(tmp_path, 4, *settings)
    codes = ranks.wait()
    assert code in codes and 0 not in codes, codes
    assert ranks.output().count(message) == 1, ranks.output()
    assert "Traceback" not in ranks.output()


@pytest.mark.parametrize("settings", [("trainer.type=OwnLossTrainer",), ("trainer.accumulate_steps=3",)])
def test_a_model_may_leave_out_parts_where_gradients_are_taken_later(tmp_path, settings):
    train_together(tmp_path, 2, "model=Branching", "trainer.epochs=6", *settings, config=CONFIG)


@MODELS.register
class Drawn(BaseModel):
    """Begins with other weights in each process."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 3)
        nn.init.constant_(self.layer.bias, rank())

    def forward(self, inputs):
        return self.layer(inputs)


@pytest.mark.parametrize("settings", [(DDP,), (FSDP,), ("trainer.type=OwnLossTrainer",)])
def test_all_begin_with_the_weights_of_the_main_process(tmp_path, settings):
    run = train_together(tmp_path, 2, "model=Drawn", "optimizer.args.lr=0", *settings, config=CONFIG)
    assert (state_of(run)["model"]["layer.bias"] == 0).all()


@DATASETS.register
class OfProcess(Synthetic):
    """Other samples in each process, or another number of them."""

    def __init__(self, split, size, fewer=0, **args):
        super().__init__(split, size=size - fewer * rank(), seed=0 if fewer else rank(), **args)


@pytest.mark.parametrize(("fewer", "message"), [(5, "num_samples.train 40, not 45"), (0, "other targets.train")])
def test_data_that_differ_between_processes_are_told(tmp_path, fewer, message):
    args = f"shape: [8], size: 45, valid_size: 21, num_classes: 3, fewer: {fewer}"
    ranks = start(tmp_path, 2, f"dataset={{type: OfProcess, args: {{{args}}}}}")
    assert 2 in (codes := ranks.wait()) and 0 not in codes, codes
    assert ranks.output().count("process 1 has other data than process 0") == 1
    assert message in ranks.output(), ranks.output()


def test_the_others_do_not_wait_for_a_main_process_that_fails_at_its_end(tmp_path, monkeypatch):
    def no_room(figure, file, **options):
        raise OSError("no space left")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", no_room)
    ranks = start(tmp_path, 2)
    assert ranks.wait(seconds=20) == [1, 0], ranks.output()
    assert ranks.output().count("no space left") == 1


@TRAINERS.register
class SleepingTrainer(Trainer):
    def train_step(self, batches):
        if self.journal is not None and self.step == 3 and rank() == 1:
            time.sleep(1000)
        super().train_step(batches)


def test_a_process_that_hangs_is_not_waited_for_longer_than_told(tmp_path):
    settings = ("trainer.timeout=4 seconds", "trainer.save_every=1 steps")
    ranks = start(tmp_path, 2, "trainer.type=SleepingTrainer", *settings)
    assert ranks.wait(20) == [1, -9]  # as torchrun ends what does not by itself
    assert ranks.output().count("has not answered for trainer.timeout") == 1
    (run,) = (tmp_path / "saved/tiny").glob("2*")
    assert status(run) == "failed" and max(steps_saved(run)) == 3


@TRAINERS.register
class CrampedTrainer(Trainer):
    """Its second process gets no more memory, not even for a thread."""

    def train_step(self, batches):
        if self.journal is not None and self.step == 3 and rank() == 1:
            num_pages = int(Path("/proc/self/statm").read_text().split()[0])
            resource.setrlimit(resource.RLIMIT_AS, (num_pages * resource.getpagesize() + (4 << 20), -1))
            torch.ones(1 << 30)
        super().train_step(batches)


@TRAINERS.register
class MistakenTrainer(Trainer):
    def train_step(self, batches):
        if self.journal is not None and self.step == 3 and rank() == 1:
            raise {"own": ValueError, "file": OSError}[self.settings.args["of"]]("it goes wrong")
        super().train_step(batches)

    def __init__(self, of, **parts):
        super().__init__(**parts)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("trainer.type=CrampedTrainer", "failed: process 1: out of memory after step 3"),
        ("trainer={type: MistakenTrainer, args: {of: file}, epochs: 1}", "failed: process 1: it goes wrong"),
        ("trainer={type: MistakenTrainer, args: {of: own}, epochs: 1}", "ValueError: it goes wrong\nin process 1"),
    ],
)
def test_an_error_is_told_with_its_process_in_the_terminal_and_in_the_log(tmp_path, settings, told):
    ranks = start(tmp_path, 2, settings)
    assert ranks.wait() == [1, 1]
    assert ranks.output().count(told) == 1, ranks.output()
    assert "another process of this run" not in ranks.output()
    (log,) = (tmp_path / "saved/tiny").glob("2*/train.log")
    assert "ERROR   process 1: " in log.read_text()


def test_a_mistake_that_the_main_process_has_not_made_is_told_by_another(tmp_path):
    """As where a config lies on the first machine only: the main process waits for the others to come."""
    place = os.getcwd()
    (tmp_path / "only_here.yaml").write_text(CONFIG)
    try:
        os.chdir(tmp_path)
        ranks = Ranks(tmp_path, 2, "-c", "only_here.yaml", prepare=lambda rank: rank and os.chdir(place))
    finally:
        os.chdir(place)
    assert ranks.wait(20)[1] == 2
    assert ranks.output().count("process 1: only_here.yaml: no such file") == 1, ranks.output()
