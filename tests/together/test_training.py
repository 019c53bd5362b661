"""Several processes train one model: the same samples, losses and scores as one, and the same bits after any end."""

import ast
import json
import os
import signal

import pytest
import torch
from torch.utils.data import Dataset

import test as test_script
from base import DATASETS, TRAINERS
from tests.ranks import Ranks, train_together
from tests.running import PICTURES, TINY, assert_same_end, evaluate, rows, state_of, status, steps_saved, train
from trainer.trainer import Trainer
from utils.distributed import gathered, num_ranks, rank

CONFIG = TINY.replace("size: 40, valid_size: 20, test_size: 20", "size: 45, valid_size: 21, test_size: 19").replace(
    "num_workers: 0", "num_workers: 0, drop_last: false"
)
FSDP = "trainer.parallel=fsdp"
DDP = "trainer.parallel=ddp"
SCORES = ("loss", "accuracy", "MulticlassF1Score", "MulticlassAUROC")
CLASSES = "args: {num_classes: 3}"
METRICS = f"metrics=[accuracy, {{type: MulticlassF1Score, {CLASSES}}}, {{type: MulticlassAUROC, {CLASSES}}}]"


def start(folder, num, *arguments, **options):
    """Processes that train in folder/saved."""
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(CONFIG)
    given = ("-c", str(folder / "tiny.yaml"), f"trainer.save_dir={folder / 'saved'}")
    return Ranks(folder, num, *given, *arguments, **options)


def assert_close(run, other, tolerance=1e-5):
    """The weights and scores of two runs are equal but for rounding."""
    for name, weight in state_of(run)["model"].items():
        assert torch.allclose(weight, state_of(other)["model"][name], rtol=tolerance, atol=1e-6), name
    for row, its in zip(rows(run), rows(other), strict=True):
        for name in row.keys() - {"seconds", "samples_per_second"}:
            assert row[name] == pytest.approx(its[name], rel=tolerance), name


@pytest.mark.parametrize("num_ranks", [2, 4])
@pytest.mark.parametrize(
    "overrides",
    [
        (METRICS,),
        (
            "trainer.accumulate_steps=2",
            "trainer.clip_grad_norm=0.5",
            "trainer.ema_decay=0.9",
            "optimizer={type: AdamW, args: {lr: 0.01}}",
        ),
        ("loss={type: CrossEntropyLoss, class_weights: [1.0, 2.0, 3.0]}", "trainer.accumulate_steps=2"),
        ("data_loader.num_workers=1", "data_loader.order=balanced"),
    ],
    ids=["metrics", "accumulated", "weighted", "workers"],
)
def test_as_one_process(tmp_path, num_ranks, overrides):
    one = train_together(tmp_path / "one", 1, *overrides, config=CONFIG)
    several = train_together(tmp_path / "several", num_ranks, *overrides, config=CONFIG)
    assert_close(several, one)
    told = f"{num_ranks} processes: each has all weights, and {8 // num_ranks} samples of a batch"
    assert told in (several / "train.log").read_text() and "processes:" not in (one / "train.log").read_text()


def test_torch_does_not_warn_of_what_accumulating_needs(tmp_path):
    ranks = start(tmp_path, 2, "trainer.accumulate_steps=2")
    assert ranks.wait() == [0, 0] and "find_unused_parameters" not in ranks.output()


@TRAINERS.register
class WatchedTrainer(Trainer):
    """Writes down the samples of each batch, and does at a step what a test asks for."""

    at_step, do, folder = None, None, None

    def train_step(self, batches):
        if self.journal is not None:
            if self.step == self.at_step:
                self.do(rank())
            with open(self.folder / f"samples-{num_ranks()}-{rank()}.txt", "a") as file:
                file.writelines(f"{self.step} {batch.indices.tolist() if batch.counts else []}\n" for batch in batches)
        super().train_step(batches)


WATCHED = "trainer.type=WatchedTrainer"


def samples_of(folder, num):
    """The samples of each step, put together from those of all processes."""
    parts = [(folder / f"samples-{num}-{each}.txt").read_text().splitlines() for each in range(num)]
    steps = []
    for lines in zip(*parts, strict=True):
        steps.append([index for line in lines for index in ast.literal_eval(line.split(" ", 1)[1])])
    return steps


def test_the_samples_of_each_step_are_the_same_for_any_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(WatchedTrainer, "folder", tmp_path)
    settings = (WATCHED, "trainer.epochs=3", "trainer.accumulate_steps=2")
    train_together(tmp_path, 1, *settings, config=CONFIG)
    for num in (2, 4, 8):  # the last batch has five samples: of eight processes, three have none
        train_together(tmp_path / str(num), num, *settings, config=CONFIG)
        assert samples_of(tmp_path, num) == samples_of(tmp_path, 1)


def kill_self(rank_to_kill, number=signal.SIGKILL):
    return lambda rank: os.kill(os.getpid(), number) if rank == rank_to_kill else None


@pytest.mark.parametrize(
    "settings",
    [(), ("trainer.precision=fp16", "data_loader.num_workers=1"), (FSDP, "trainer.precision=bf16", *PICTURES)],
)
@pytest.mark.parametrize("killed", [0, 1])
def test_killed_and_resumed_ends_with_the_same_bits(tmp_path, monkeypatch, killed, settings):
    monkeypatch.setattr(WatchedTrainer, "folder", tmp_path)
    settings = (WATCHED, METRICS, "trainer.save_every=2 steps", *settings)
    whole = train_together(tmp_path / "whole", 2, *settings, config=CONFIG)
    monkeypatch.setattr(WatchedTrainer, "at_step", 9)
    monkeypatch.setattr(WatchedTrainer, "do", staticmethod(kill_self(killed)))
    folder = tmp_path / "killed"
    ranks = start(folder, 2, *settings)
    codes = ranks.wait()
    assert codes[killed] == -signal.SIGKILL and codes[1 - killed] == 1
    assert "another process of this run has ended" in ranks.output()
    assert "Traceback" not in ranks.output()
    monkeypatch.setattr(WatchedTrainer, "at_step", None)
    resumed = train_together(folder, 2, "-r", "auto", *settings, config=CONFIG)
    assert_same_end(resumed, whole)


@pytest.mark.parametrize("told", [(0,), (1,), (0, 1)])
def test_a_signal_stops_all_at_one_step(tmp_path, monkeypatch, told):
    monkeypatch.setattr(WatchedTrainer, "folder", tmp_path)
    monkeypatch.setattr(WatchedTrainer, "at_step", 4)
    monkeypatch.setattr(
        WatchedTrainer, "do", staticmethod(lambda rank: os.kill(os.getpid(), signal.SIGTERM) if rank in told else None)
    )
    run = train_together(tmp_path, 2, WATCHED, config=CONFIG, code=128 + signal.SIGTERM)
    (saved,) = steps_saved(run)
    assert saved in (5, 6)  # asked for within the fifth step, it is agreed upon there or in the next
    assert status(run) == "stopped"
    monkeypatch.setattr(WatchedTrainer, "at_step", None)
    whole = train_together(tmp_path / "whole", 2, WATCHED, config=CONFIG)
    resumed = train_together(tmp_path, 2, "-r", "auto", WATCHED, config=CONFIG)
    assert resumed == run
    assert_same_end(resumed, whole)


def test_resumed_with_other_numbers_of_processes(tmp_path):
    one = tmp_path / "one"
    settings = (METRICS, "optimizer={type: AdamW, args: {lr: 0.01}}", "trainer.ema_decay=0.9", "trainer.epochs=4")
    whole = train_together(one, 1, *settings, config=CONFIG)
    run, folder = None, tmp_path / "moving"
    for max_steps, num, parallel in (
        (5, 1, DDP),
        (9, 2, FSDP),
        (13, 4, DDP),
        (16, 4, FSDP),
        (20, 2, DDP),
        (24, 1, FSDP),
    ):
        again = () if run is None else ("-r", str(run))
        args = (*settings, parallel, "trainer.epochs=null", f"trainer.max_steps={max_steps}")
        run = train_together(folder, num, *again, *args, config=CONFIG)
    assert_close(run, whole)


@TRAINERS.register
class OwnLossTrainer(Trainer):
    """A loss of its own, with a part of the model that only some samples reach, and a score of its own."""

    def training_loss(self, batch):
        result = super().training_loss(batch)
        self.log("largest", result.output.detach().abs().amax(dim=1).mean())
        return result._replace(loss=result.loss + 0.1 * result.output.square().mean())


@TRAINERS.register
class StepsByItselfTrainer(Trainer):
    """Forgets that there are other processes."""

    def train_step(self, batches):
        loss = self.forward_pass(self.model, batches[0], training=True).loss
        (loss * self.own_steps.share_of(batches[0].num_samples)).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.train_sums.update(self.forward_pass(self.model, batches[0], training=True), batches[0])


NORMS = "model={type: SmallResNet, args: {num_classes: 3, in_channels: 3}}"


@pytest.mark.parametrize("num", [2, 4])
def test_a_loss_of_ones_own_is_as_in_one_process(tmp_path, num):
    settings = ("trainer.type=OwnLossTrainer", "trainer.accumulate_steps=2")
    one = train_together(tmp_path / "one", 1, *settings, config=CONFIG)
    assert_close(train_together(tmp_path, num, *settings, config=CONFIG), one)


def test_a_trainer_that_forgets_the_others_is_told(tmp_path):
    ranks = start(tmp_path, 2, "trainer.type=StepsByItselfTrainer")
    assert ranks.wait() == [1, 1]
    assert ranks.output().count("have come to different numbers in: model") == 1
    assert "self.parallel.reduce(self.model.parameters())" in ranks.output()


@TRAINERS.register
class RememberingTrainer(Trainer):
    """Keeps how often each sample was seen, as those that learn with noisy labels keep more."""

    def __init__(self, shares=False, **parts):
        super().__init__(**parts)
        self.seen, self.shares = torch.nn.Module(), shares
        self.seen.register_buffer("times", torch.zeros(45))
        self.parts["memory"] = self.seen

    def training_loss(self, batch):
        of_all = gathered(batch.indices.tolist()) if self.shares else [batch.indices.tolist()]
        for indices in of_all:
            self.seen.times[indices] += 1
        return super().training_loss(batch)


@pytest.mark.parametrize("drop_last", ["true", "false"])  # true: each process has seen as many samples
def test_a_memory_of_ones_own_samples_is_told_or_shared(tmp_path, drop_last):
    ranks = start(tmp_path, 2, "trainer.type=RememberingTrainer", f"data_loader.drop_last={drop_last}")
    assert ranks.wait() == [1, 1]
    assert "different numbers in: memory; what a process notes of its own samples" in ranks.output()
    run = train_together(
        tmp_path, 2, "trainer={type: RememberingTrainer, args: {shares: true}, epochs: 2}", config=CONFIG
    )
    assert (state_of(run)["memory"]["times"] == 2).all()


@pytest.mark.parametrize("found_by", [0, 1])
@pytest.mark.parametrize("trainer", ["PoisonedTrainer", "PoisonedOwnTrainer"])
def test_a_loss_that_is_nan_in_one_process_stops_all(tmp_path, monkeypatch, found_by, trainer):
    monkeypatch.setattr(PoisonedTrainer, "found_by", found_by)
    ranks = start(tmp_path, 2, f"trainer.type={trainer}", "trainer.save_every=1 steps", "trainer.log_every=100")
    assert ranks.wait() == [1, 1]
    assert ranks.output().count("the loss is nan at step 4") == 1, ranks.output()
    assert f"error: process {found_by}: the loss is nan" in ranks.output()
    run = next((tmp_path / "saved/tiny").glob("2*"))
    assert max(steps_saved(run)) == 3
    assert status(run) == "failed"


@TRAINERS.register
class PoisonedTrainer(Trainer):
    found_by = None

    def train_step(self, batches):
        self.poisoned = self.journal is not None and self.step == 3 and rank() == self.found_by
        if self.poisoned:
            batches = [batch._replace(data=(batch.data[0] * float("nan"), batch.data[1])) for batch in batches]
        super().train_step(batches)


@TRAINERS.register
class PoisonedOwnTrainer(PoisonedTrainer):
    def training_loss(self, batch):
        return super().training_loss(batch)


@pytest.mark.parametrize(
    ("overrides", "message", "code"),
    [
        (
            ("data_loader.batch_size=9",),
            "data_loader.batch_size: found 9 for 2 processes; expected a multiple of that, such as 8 or 10",
            2,
        ),
        (("optimizer={type: LBFGS, args: {lr: 0.1}}",), "optimizer: LBFGS searches along one loss", 2),
        (("model.args.hiden=3",), "unknown argument of MLP", 2),
        (("--epoch", "3"), "unknown option --epoch; did you mean '--epochs'?", 2),
        (("device=cuda:0",), "found 'cuda:0' for 2 processes", 2),
        (("trainer.type=BrokenTrainer",), "broken in process 1\n", 1),
        (("trainer.type=FullTrainer",), "process 1: out of memory after step 2", 1),
    ],
)
def test_a_mistake_is_told_once(tmp_path, overrides, message, code):
    ranks = start(tmp_path, 2, *overrides)
    codes = ranks.wait()
    assert code in codes and 0 not in codes, codes
    assert ranks.output().count(message) == 1, ranks.output()
    assert ("Traceback" in ranks.output()) == ("Broken" in overrides[0])
    assert "another process of this run" not in ranks.output()
    for run in (tmp_path / "saved/tiny").glob("2*"):
        assert message.strip() in (run / "train.log").read_text()


@TRAINERS.register
class BrokenTrainer(Trainer):
    def train_step(self, batches):
        if self.journal is not None and self.step == 2 and rank() == 1:
            raise RuntimeError("it is broken in process 1")
        super().train_step(batches)


@TRAINERS.register
class FullTrainer(Trainer):
    def train_step(self, batches):
        if self.journal is not None and self.step == 2 and rank() == 1:
            raise MemoryError("no more")
        super().train_step(batches)


@pytest.mark.parametrize("num", [2, 4])
def test_test_py_evaluates_each_sample_once(tmp_path, num):
    run = train_together(tmp_path, 2, METRICS, config=CONFIG)
    alone = evaluate(run)
    for size in (8, 9, 20, 2):  # 19 samples
        out = tmp_path / f"results-{num}-{size}"
        arguments = ("-r", str(run), "--out", str(out), f"data_loader.batch_size={size}")
        ranks = Ranks(tmp_path, num, *arguments, script=test_script.main)
        assert ranks.wait() == [0] * num, ranks.output()
        found = json.loads((out / "metrics.json").read_text())
        assert found.keys() == alone.keys()
        assert all(value == pytest.approx(alone[name], rel=1e-7) for name, value in found.items() if name in SCORES)
        assert ranks.output().count("results in") == 1
        rows, expected = ((each / "predictions.csv").read_text().split() for each in (out, run / "results"))
        assert [line.split(",")[:3] for line in rows] == [line.split(",")[:3] for line in expected]  # without scores


@pytest.mark.parametrize("num", [2, 4])
@pytest.mark.parametrize(
    "overrides",
    [
        (METRICS, "trainer.clip_grad_norm=0.5"),
        ("trainer.accumulate_steps=2", "trainer.ema_decay=0.9", "optimizer={type: AdamW, args: {lr: 0.01}}"),
        ("loss={type: CrossEntropyLoss, class_weights: [1.0, 2.0, 3.0]}", "trainer.clip_grad_value=0.1"),
        ("trainer.type=OwnLossTrainer", "trainer.accumulate_steps=2"),
    ],
    ids=["clipped", "accumulated", "weighted", "own"],
)
def test_sharded_as_one_process(tmp_path, num, overrides):
    one = train_together(tmp_path / "one", 1, *overrides, config=CONFIG)
    run = train_together(tmp_path, num, FSDP, *overrides, config=CONFIG)
    assert_close(run, one)
    assert evaluate(run)["loss"] == pytest.approx(evaluate(one)["loss"], rel=1e-5)


@DATASETS.register
class PartlyBad(Dataset):
    """Two samples that cannot be read."""

    def __init__(self, split):
        self.inputs = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))

    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index in (7, 30):
            raise OSError("it is damaged")
        return self.inputs[index], index % 3


def test_bad_samples_are_left_out_and_told_by_whichever_process_reads_them(tmp_path):
    settings = ("dataset={type: PartlyBad}", "data_loader.skip_bad_samples=2", "trainer.epochs=1")
    one = train_together(tmp_path / "one", 1, *settings, config=CONFIG)
    ranks = start(tmp_path, 2, *settings)
    assert ranks.wait() == [0, 0]
    for index in (7, 30):
        assert ranks.output().count(f"sample {index} could not be read") >= 1
    assert_close((tmp_path / "saved/tiny/latest").resolve(), one)


def test_the_batch_of_each_device_times_their_number_is_the_batch(tmp_path, capsys):
    per_device = CONFIG.replace("batch_size: 8", "batch_size_per_device: 4")
    given, other = train_together(tmp_path, 2, config=CONFIG), train_together(tmp_path / "b", 2, config=per_device)
    assert_same_end(given, other)
    assert state_of(other)["config"]["data_loader"]["batch_size"] == 8
    (tmp_path / "both").mkdir()
    train(tmp_path / "both", "data_loader.batch_size_per_device=4", config=CONFIG, code=2)
    assert "found 4 beside data_loader.batch_size; expected one of them" in capsys.readouterr().err
