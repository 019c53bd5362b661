"""Runs on a CUDA GPU, through train.py and test.py. How to run these tests, with a GPU or without: tests/gpu.py."""

import contextlib
import math
import shutil
import subprocess
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from base import LOSSES, MODELS, TRAINERS
from data_loader.build import build_loader
from tests.gpu import DEVICE, IS_GPU, never_waiting_for_the_gpu
from tests.process import ROOT
from tests.running import (
    PICTURES,
    TINY,
    Recorder,
    assert_same,
    assert_same_end,
    assert_same_state,
    evaluate,
    read,
    recorded,
    resume,
    rows,
    state_of,
    status,
    steps_saved,
    train,
)  # fmt: skip
from trainer.trainer import Trainer
from utils.plain_data import copy_plain

pytestmark = pytest.mark.cuda

ON = f"device={DEVICE}"
SAME_BITS = (ON, "trainer.deterministic=true")
EVERY_STEP = ("trainer.save_every=1 steps", "trainer.keep_last=99")
AUGMENTED = (
    *PICTURES,
    "dataset.args.dtype=uint8",
    "dataset.batch_transforms.train=[RandomHorizontalFlip, {type: RandomCrop, args: {size: 8, padding: 1}}]",
    "model.args.dropout=0.5",
    "metrics=[accuracy]",
)
RESNET = (*PICTURES, "model={type: SmallResNet, args: {num_classes: 3, width: 4}}")
SGD, ADAMW = "optimizer={type: SGD, args: {lr: 0.1, momentum: 0.9}}", "optimizer={type: AdamW, args: {lr: 0.01}}"


@pytest.fixture(autouse=True)
def usual_kernels():
    yield
    torch.use_deterministic_algorithms(False)


@TRAINERS.register
class NeverWaiting(Trainer):
    """Fails where a step, or the fetching of its batches, waits for the GPU; the first may do what is done once."""

    is_warm = False

    def train_step(self, batches):
        with self.on_guard():
            super().train_step(batches)
        self.is_warm = self.journal is not None  # not yet in the rehearsal

    def steps_left_in_epoch(self):
        steps = super().steps_left_in_epoch()
        while True:
            with self.on_guard():
                batches = next(steps, None)
            if batches is None:
                return
            yield batches

    def on_guard(self):
        return never_waiting_for_the_gpu() if self.is_warm else contextlib.nullcontext()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize(
    "options",
    [
        (SGD,),
        (ADAMW, "trainer.ema_decay=0.8"),
        (SGD, "trainer.clip_grad_norm=0.05"),
        (ADAMW, "trainer.clip_grad_value=0.01", "trainer.accumulate_steps=2"),
    ],
    ids=["plain", "ema", "clip-norm", "clip-value"],
)
def test_an_interrupted_run_ends_with_the_same_bits_and_no_step_waits(precision, options, tmp_path):
    config = (*SAME_BITS, *AUGMENTED, *options, f"trainer.precision={precision}", "trainer.type=NeverWaiting")
    run = train(tmp_path, *config, *EVERY_STEP, "trainer.log_every=3")
    end = state_of(run)
    resume(run / "checkpoints/step-000000002.pt")
    assert_same_state(state_of(run), end)


@TRAINERS.register
class Spoiling(Trainer):
    """Makes the loss nan in a step, or only a gradient; remembers the trainer that there was last."""

    last: "Spoiling"

    def __init__(self, *, what: str, at: int, **parts):
        super().__init__(**parts)
        self.what, self.at = what, at
        Spoiling.last = self

    def train_step(self, batches):
        if self.step + 1 != self.at:
            super().train_step(batches)
        elif self.what == "loss":
            super().train_step([batch._replace(data=(batch.data[0] * math.nan, batch.data[1])) for batch in batches])
        else:
            hook = next(self.model.parameters()).register_hook(lambda gradient: gradient * math.nan)
            super().train_step(batches)
            hook.remove()


@pytest.mark.parametrize("optimizer", [SGD, ADAMW], ids=["SGD", "AdamW"])
@pytest.mark.parametrize(
    ("what", "said"), [("loss", "the loss is nan at step"), ("gradient", "a gradient is nan or infinite at step")]
)
def test_nan_stops_the_run_with_its_step_named_and_touches_nothing(what, said, optimizer, tmp_path, capsys):
    config = (*SAME_BITS, optimizer)
    clean = train(tmp_path, *config, *EVERY_STEP, "--name", "clean")
    spoil = f"{{type: Spoiling, args: {{what: {what}, at: 7}}"
    run = train(tmp_path, *config, f"trainer={spoil}, log_every: 7}}", "--name", "at_once", code=1)
    assert f"{said} 7;" in capsys.readouterr().err and steps_saved(run) == [5]
    left = {"model": Spoiling.last.model.state_dict(), "optimizer": Spoiling.last.optimizer.state_dict()}
    left = copy_plain(left, lambda _, tensor: tensor.cpu())
    for name, part in left.items():
        assert_same(part, state_of(clean, 6)[name])

    late = train(tmp_path, *config, f"trainer={spoil}, log_every: 9}}", "--name", "late", code=1)
    assert f"{said} 7;" in capsys.readouterr().err and steps_saved(late) == [5]
    saving = train(tmp_path, *config, f"trainer={spoil}}}", *EVERY_STEP, "--name", "saving", code=1)
    for name in ("model", "optimizer"):
        assert_same(state_of(late)[name], state_of(clean, 5)[name])
        assert_same(state_of(saving)[name], state_of(clean, 6)[name])


@pytest.mark.parametrize(("first", "second"), [("cpu", DEVICE), (DEVICE, "cpu")], ids=["to-the-gpu", "to-the-cpu"])
@pytest.mark.parametrize("options", [(SGD,), (ADAMW, "trainer.ema_decay=0.8")], ids=["SGD", "AdamW-EMA"])
def test_a_run_goes_on_on_another_device(first, second, options, tmp_path):
    run = train(tmp_path, *RESNET, *options, "trainer.deterministic=true", "--device", first, "trainer.keep_last=9")
    start, stayed = state_of(run, 5), state_of(run)
    resume(run / "checkpoints/step-000000005.pt", "--device", second)
    moved = state_of(run)
    for part in ("model", "optimizer", *(["ema"] if "ema" in stayed else [])):
        before, one, other = (tensors_in(state[part]) for state in (start, stayed, moved))
        assert all((a - b).norm() <= 1e-3 * a.norm() for a, b in zip(one, other, strict=True)), part
        assert any((a - b).norm() > 1e-1 * a.norm() for a, b in zip(one, before, strict=True)), part


def tensors_in(state):
    """All tensors of a part of a checkpoint, in float64."""
    found = []
    copy_plain(state, lambda _, tensor: found.append(tensor.double()) or tensor)
    return found


SEGMENT = 20 * 2**20  # bytes that torch's allocator takes at once for tensors of megabytes


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batches_come_right_to_a_slow_consumer_and_take_no_more_memory(num_workers, tmp_path):
    """While the GPU is busy, the CPU is batches ahead: none may lie where one still waits to be used."""
    pictures = ("dataset.args.shape=[3, 64, 64]", "dataset.args.size=320", f"data_loader.num_workers={num_workers}")
    config = read(tmp_path, *pictures, "data_loader.batch_size=64")
    here, there = (
        build_loader(config.dataset, config.data_loader, "train", 1, torch.device(device), training=True)
        for device in ("cpu", DEVICE)
    )
    busy = torch.rand(2048, 2048, device=DEVICE) if IS_GPU else None
    reserved = []
    for epoch in range(40 if IS_GPU else 2):
        seen = []
        for batch in there.batches(epoch):
            for _ in range(20 if IS_GPU else 0):
                busy = (busy @ busy).clamp_(0, 1)
            seen.append([tensor.clone() for tensor in batch.data])  # behind all of these
            del batch
        for ours, (pictures, classes) in zip(here.batches(epoch), seen, strict=True):
            assert torch.equal(ours.data[0], pictures.cpu()) and torch.equal(ours.data[1], classes.cpu())
        if IS_GPU:
            reserved.append(torch.cuda.memory_reserved())
    assert not IS_GPU or max(reserved) <= reserved[4] + SEGMENT


@pytest.mark.skipif(not IS_GPU, reason="counts the memory of a GPU")
def test_forty_epochs_take_no_more_memory_than_five(tmp_path, monkeypatch):
    reserved = []
    monkeypatch.setattr(Recorder, "on_step", staticmethod(lambda step: reserved.append(torch.cuda.memory_reserved())))
    train(tmp_path, ON, *AUGMENTED, "--epochs", "40", "trainer.ema_decay=0.9", "trainer.precision=bf16")
    assert len(reserved) == 200 and max(reserved) <= max(reserved[:25]) + 2**21  # one piece for small tensors


RANKED = ("dataset.args.num_classes=null", "model.args.out_features=1", "loss=MSELoss", "optimizer.args.lr=0.001",
          "metrics=[{type: SpearmanCorrCoef, name: rank}]")  # fmt: skip


@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("reduce-overhead", RANKED),
        ("reduce-overhead", ("dataset.args.size=43", "data_loader.drop_last=false", "metrics=[accuracy]")),
        ("reduce-overhead", ("trainer.eval_every=2 steps", "trainer.ema_decay=0.8", "trainer.precision=bf16")),
        ("true", ("trainer.accumulate_steps=2", "metrics=[accuracy]")),
    ],
    ids=["list-metric", "smaller-last-batch", "train-evaluate-train", "accumulation"],
)
def test_a_compiled_model_has_the_same_scores(mode, options, tmp_path):
    plain = train(tmp_path, ON, *options)
    compiled = train(tmp_path, ON, *options, f"trainer.compile={mode}", "--name", "compiled")
    tolerance = 0.05 if "trainer.precision=bf16" in options else 0.01
    for name in rows(plain)[0].keys() - {"seconds", "samples_per_second"}:
        one, other = ([row[name] for row in rows(run)] for run in (plain, compiled))
        assert other == pytest.approx(one, rel=tolerance, abs=tolerance)
    assert recorded(compiled, "loss") == pytest.approx(recorded(plain, "loss"), rel=tolerance)


def test_graphs_are_refused_where_gradients_are_accumulated(tmp_path, capsys):
    train(tmp_path, ON, "trainer.compile=reduce-overhead", "trainer.accumulate_steps=2", code=2)
    assert "trainer.compile: found 'reduce-overhead' beside trainer.accumulate_steps" in capsys.readouterr().err


LARGER = ("dataset.args.shape=[1, 32, 32]", "loss=nll_loss")
SHIPPED = {
    "LinearRegression": ("model={type: LinearRegression, args: {out_features: 3}}",),
    "MLP": ("model={type: MLP, args: {out_features: 3, dropout: 0.5}}",),
    "LeNet": AUGMENTED,
    "MnistModel": (*LARGER, "model={type: MnistModel, args: {num_classes: 3}}"),
    "SmallResNet": (*AUGMENTED, *RESNET),
    "AirbenchNet": (
        *("dataset.args.shape=[3, 20, 20]", "dataset.args.dtype=uint8", AUGMENTED[3].replace("size: 8", "size: 20")),
        "model={type: AirbenchNet, args: {num_classes: 3, widths: [4, 8, 8]}}",
    ),
    "resnet18": ("dataset.args.shape=[3, 32, 32]", "model={type: resnet18, args: {num_classes: 3}}"),
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", SHIPPED)
def test_deterministic_runs_have_the_same_bits(model, precision, tmp_path):
    """Of every model that an experiment in config/ names."""
    config = (*SAME_BITS, *SHIPPED[model], f"trainer.precision={precision}")
    assert_same_end(train(tmp_path, *config), train(tmp_path, *config))


def test_loader_processes_start_where_the_gpu_is_in_use(tmp_path):
    torch.zeros(1, device=DEVICE)
    config = (*SAME_BITS, *AUGMENTED)
    without = train(tmp_path, *config)
    assert_same_end(train(tmp_path, *config, "data_loader.num_workers=2"), without)


@pytest.mark.parametrize(("trained", "tested"), [("cpu", DEVICE), (DEVICE, "cpu")], ids=["on-the-gpu", "on-the-cpu"])
def test_a_checkpoint_has_the_same_scores_on_another_device(trained, tested, tmp_path):
    metrics = "metrics=[accuracy, log_loss, {type: MulticlassF1Score, args: {num_classes: 3}}]"
    run = train(tmp_path, *RESNET, metrics, "trainer.ema_decay=0.8", "--device", trained)
    there, here = (evaluate(run, f"device={device}", "trainer.deterministic=true") for device in (tested, trained))
    names = {"loss", "accuracy", "log_loss", "MulticlassF1Score"}
    assert {name: there[name] for name in names} == pytest.approx({name: here[name] for name in names}, rel=1e-4)


@MODELS.register
class Hungry(nn.Linear):
    """Asks for 64 TiB where its `phase` says so."""

    phase: str | None = None

    def __init__(self):
        super().__init__(8, 3)

    def forward(self, x):
        if self.phase == ("training" if self.training else "evaluation"):
            torch.empty(2**46, dtype=torch.uint8, device=x.device)
        return super().forward(x)


@pytest.mark.parametrize(
    ("phase", "step", "where"), [("training", 7, "after step 7"), ("evaluation", 10, "in the evaluation after step 10")]
)
def test_memory_that_runs_out_is_told_and_the_run_goes_on(phase, step, where, tmp_path, capsys, monkeypatch):
    config = (*SAME_BITS, "model=Hungry")
    whole = train(tmp_path, *config, "--name", "whole")
    with monkeypatch.context() as hungry:
        set_phase = partial(hungry.setattr, Hungry, "phase", phase)
        hungry.setattr(Recorder, "on_step", staticmethod(lambda done: set_phase() if done == step else None))
        run = train(tmp_path, *config, "--name", "hungry", code=1)
    told = capsys.readouterr()
    assert f"error: out of memory {where}, with batches of 8" in told.err and "Traceback" not in told.err
    asked = "Tried to allocate 65536.00 GiB" if IS_GPU else "you tried to allocate 70368744177664 bytes"
    assert asked in told.err and f"python train.py -r {run}" in told.out and status(run) == "failed"
    resume(run)
    assert_same_end(run, whole)


@LOSSES.register
def too_high_classes(output, target):
    """Whose targets the model has no scores for: an assert on a GPU, which is of no use to its process afterwards."""
    return F.cross_entropy(output, target + 3)


def test_a_failed_assert_of_the_device_keeps_its_traceback_and_gets_a_hint(tmp_path):
    (tmp_path / "tiny.yaml").write_text(TINY)
    options = ["-c", str(tmp_path / "tiny.yaml"), f"trainer.save_dir={tmp_path}", ON, "loss=too_high_classes"]
    code = f"import tests.test_cuda, train; raise SystemExit(train.main({options}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1 and ("device-side assert" if IS_GPU else "too_high_classes") in done.stderr
    assert ("CUDA_LAUNCH_BLOCKING=1 in front of the command" in done.stderr) == IS_GPU


def test_metrics_of_torchmetrics_wait_for_nothing_in_a_step(tmp_path):
    of_classes = ("MulticlassF1Score", "MulticlassConfusionMatrix", "MulticlassAccuracy")
    metrics = ", ".join(f"{{type: {name}, args: {{num_classes: 3}}}}" for name in of_classes)
    run = train(
        tmp_path, ON, f"metrics=[{metrics}]", "trainer.type=NeverWaiting", "trainer.log_every=99", "--epochs", "3"
    )
    there = evaluate(run, "--split", "valid")
    assert there["MulticlassF1Score"] == pytest.approx(rows(run)[-1]["val_MulticlassF1Score"])


def test_data_on_the_device_give_the_same_bits(tmp_path):
    digits = ("dataset=Digits", "data_loader.validation_split=0.1", "data_loader.batch_size=300")
    crops = "dataset.batch_transforms.train=[{type: RandomCrop, args: {size: 8, padding: 1}}]"
    config = (*SAME_BITS, *digits, crops, "model={type: LeNet, args: {num_classes: 10}}")
    config += ("trainer.type=NeverWaiting", "trainer.log_every=3")
    one, other = (train(tmp_path, *config, f"data_loader.on_device={value}") for value in ("true", "false"))
    assert_same_end(one, other)
