"""What a GPU does otherwise, as far as a CPU can show it: memory formats, graphs, averages, errors of the device."""

import functools
import re

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.testing import assert_close

from base import MODELS, OPTIMIZERS
from base.optimizer_state import load_optimizer
from data_loader.prefetch import pinned_memory
from tests.running import (
    PICTURES,
    Recorder,
    assert_same,
    assert_same_end,
    evaluate,
    first_model,
    read,
    recorded,
    resume,
    state_of,
    status,
    train,
)  # fmt: skip
from trainer.ema import EMA
from trainer.forward import ForwardPass

NO_GPU_CHOICE = lambda self, model: False  # noqa: E731  (as on CUDA with fp32)


@pytest.mark.parametrize(
    "optimizer", ["{type: SGD, args: {lr: 0.1, momentum: 0.9}}", "{type: AdamW, args: {lr: 0.01}}"]
)
@pytest.mark.parametrize("is_first_channels_last", [True, False])
def test_momentum_follows_the_memory_format_of_the_weights(optimizer, is_first_channels_last, tmp_path, monkeypatch):
    """A run that goes on where `channels_last: auto` chooses otherwise, as on another device."""
    config = (*PICTURES, f"optimizer={optimizer}", "trainer.ema_decay=0.9", "trainer.keep_last=9")
    whole = train(tmp_path, *config, "--epochs", "3")
    if is_first_channels_last:
        monkeypatch.setattr(ForwardPass, "_gains_by_channels_last", NO_GPU_CHOICE)
        run = whole
    else:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(ForwardPass, "_gains_by_channels_last", NO_GPU_CHOICE)
            run = train(tmp_path, *config, "--epochs", "3", "--name", "other")
    end = state_of(run)
    resume(run / "checkpoints/step-000000005.pt")
    again = state_of(run)
    assert again["channels_last"] is not end["channels_last"]
    for part in ("model", "ema", "optimizer"):
        assert_close(again[part], end[part], rtol=1e-4, atol=1e-5)


def test_the_kernels_of_an_optimizer_are_chosen_by_the_device_at_hand():
    """As a checkpoint from Apple's GPU has them, where there is no fused kernel; and a count of steps goes along."""
    weight = nn.Parameter(torch.ones(2, 3, 4, 4).to(memory_format=torch.channels_last))
    weight.grad = torch.ones_like(weight)
    saved, here = (OPTIMIZERS.build("Adam", {"lr": 0.1, "fused": fused}, params=[weight]) for fused in (None, True))
    saved.step()
    load_optimizer(here, saved.state_dict())
    assert here.param_groups[0]["fused"] is True
    here.step()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        load_optimizer(here, {"state": {}, "param_groups": []})


def test_averages_are_torchs_to_the_bit(tmp_path):
    model = first_model(read(tmp_path, *PICTURES, "model={type: SmallResNet, args: {num_classes: 3, width: 4}}"))
    ours, torchs = EMA(model, 0.7), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.7))
    for _ in range(4):
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data.add_(torch.rand_like(tensor, dtype=torch.float32).to(tensor.dtype))
        ours.update(model)
        torchs.update_parameters(model)
        assert_same(ours.model.state_dict(), torchs.module.state_dict())


def test_each_size_of_batch_gets_a_graph_of_its_own_and_averaged_weights_are_compiled(tmp_path, monkeypatch):
    sizes = []

    def count(graph, inputs):
        sizes.extend(len(value) for value in inputs if isinstance(value, torch.Tensor) and not value.requires_grad)
        assert not any(isinstance(value, torch.SymInt) for value in inputs)
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=count))
    odd = ("dataset.args.size=43", "data_loader.drop_last=false", "dataset.args.valid_size=16")
    train(tmp_path, *odd, "trainer.compile=true", "trainer.ema_decay=0.5")
    assert sizes == [8, 3, 8]  # in training, and of the averaged weights in evaluation


def test_metrics_keep_what_a_cuda_graph_would_write_over(tmp_path, monkeypatch):
    """A backend whose outputs lie where those before lay, as a replayed graph's do."""

    def replayed(graph, inputs):
        memory = {}

        def run(*values):
            outputs = graph(*values)
            kept = [memory.setdefault((i, value.shape), value.detach().clone()) for i, value in enumerate(outputs)]
            for value, place in zip(outputs, kept, strict=True):
                value.data = place.copy_(value.detach())
            return outputs

        return run

    config = ("dataset.args.num_classes=null", "model.args.out_features=1", "loss=MSELoss", "optimizer.args.lr=0.001")
    config += ("metrics=[{type: SpearmanCorrCoef, name: rank}]",)
    plain = train(tmp_path, *config)
    monkeypatch.setattr(torch, "compile", lambda model, mode, dynamic: torch_compile(model, backend=replayed))
    graphs = train(tmp_path, *config, "trainer.compile=reduce-overhead", "--name", "graphs")
    assert recorded(graphs, "val_rank") == pytest.approx(recorded(plain, "val_rank"))


torch_compile = torch.compile


def without_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free.\nC++ stack")


def with_a_failed_assert():
    raise torch.AcceleratorError("CUDA error: device-side assert triggered")


# What fails for want of memory, and what is said of it; all but the first fail really.
GREEDY = {
    "GPU": (without_memory, "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 1.00 GiB free.\n"),
    "CPU": (lambda: torch.empty(2**46), "can't allocate memory: you tried to allocate 281474976710656 bytes"),
    "Python": (lambda: bytearray(2**62), "MemoryError\n"),
}


@MODELS.register
class Greedy(nn.Linear):
    """Fails in one of its phases, as the test says."""

    phase: str | None = None  # building, training or evaluation
    fail = staticmethod(without_memory)

    def __init__(self):
        super().__init__(8, 3)
        self.conv = nn.Conv2d(1, 1, 1)  # for which channels last are tried
        if self.phase == "building":
            self.fail()

    def forward(self, x):
        if self.phase == ("training" if self.training else "evaluation"):
            self.fail()
        return super().forward(x)


def failing(monkeypatch, fail, phase, after_step=0):
    """Have Greedy fail in a phase, from the log point after a step on."""

    def on_step(step):
        if step == after_step:
            monkeypatch.setattr(Greedy, "phase", phase)

    monkeypatch.setattr(Greedy, "fail", staticmethod(fail))
    monkeypatch.setattr(Recorder, "on_step", staticmethod(on_step))
    on_step(0)


@pytest.mark.parametrize(
    ("kind", "phase", "where"),
    [
        ("GPU", "building", "at the start, with batches of 9"),
        ("GPU", "training", "in the rehearsal, with batches of 8"),
        ("GPU", "evaluation", "at the start, with batches of 9"),  # in which channels last are tried
        ("CPU", "training", "in the rehearsal, with batches of 8"),
        ("Python", "building", "at the start, with batches of 9"),
    ],
)
def test_memory_that_runs_out_before_training_is_told(kind, phase, where, tmp_path, capsys, monkeypatch):
    fail, said = GREEDY[kind]
    failing(monkeypatch, fail, phase)
    train(tmp_path, "model=Greedy", "--batch-size", "9", code=1)
    error = capsys.readouterr().err
    assert re.match(rf"failed: out of memory {where} \(at tests.test_gpu_way.py:\d+\): ", error)
    assert said in error and "Lower data_loader.batch_size" in error and "Traceback" not in error
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("kind", "phase", "after_step", "where", "saved"),
    [
        ("GPU", "training", 7, "after step 7, with batches of 8", 5),
        ("CPU", "evaluation", 10, "in the evaluation after step 10, with batches of 8", 5),
        ("Python", "training", 3, "after step 3, with batches of 8", None),
    ],
)
def test_memory_that_runs_out_in_a_run_loses_nothing(
    kind, phase, after_step, where, saved, tmp_path, capsys, monkeypatch
):
    whole = train(tmp_path, "model=Greedy", "--name", "whole")
    fail, said = GREEDY[kind]
    failing(monkeypatch, fail, phase, after_step)
    run = train(tmp_path, "model=Greedy", "--name", "greedy", code=1)
    told = capsys.readouterr()
    assert f"error: out of memory {where} (at " in told.err and said in told.err and "Traceback" not in told.err
    assert said.strip() in (run / "train.log").read_text() and status(run) == "failed"
    going_on = f"saved: step-00000000{saved}.pt; to go on from there: python train.py -r {run}\n"
    assert told.out.endswith(going_on) if saved else "saved:" not in told.out
    monkeypatch.undo()
    resume(run)
    assert_same_end(run, whole)


def test_memory_that_runs_out_in_test_py_is_told(tmp_path, capsys, monkeypatch):
    run = train(tmp_path, "model=Greedy")
    for phase in ("building", "evaluation"):
        failing(monkeypatch, without_memory, phase)
        evaluate(run, code=1)
        error = capsys.readouterr().err
        assert "failed: out of memory in the evaluation, with batches of 8" in error and "Tried to allocate" in error


@pytest.mark.parametrize("after_step", [0, 7])
def test_another_error_of_the_device_keeps_its_traceback_and_gets_a_hint(after_step, tmp_path, monkeypatch):
    failing(monkeypatch, with_a_failed_assert, "training", after_step)
    with pytest.raises(torch.AcceleratorError) as caught:
        train(tmp_path, "model=Greedy")
    (note,) = caught.value.__notes__
    assert "CUDA_LAUNCH_BLOCKING=1" in note
    if after_step:
        run = next((tmp_path / "saved/tiny").glob("2*"))
        assert note in (run / "train.log").read_text() and status(run) == "failed"


def test_what_lies_on_a_device_already_is_not_pinned():
    there = torch.empty(3, device="meta")
    assert pinned_memory(there) is there


def test_nothing_is_tuned_for_examples(tmp_path):
    seen = []

    @MODELS.register
    class Tuned(nn.Linear):
        def __init__(self):
            super().__init__(8, 3)

        def forward(self, x):
            seen.append(torch.backends.cudnn.benchmark)
            return super().forward(x)

    train(tmp_path, "model=Tuned", "--epochs", "1", "trainer.max_time=0.001 seconds")
    assert not any(seen[:4]) and torch.backends.cudnn.benchmark
