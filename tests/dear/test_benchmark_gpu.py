"""benchmarks/gpu.py runs through, at a tiny size on a CPU; what it measures is for a GPU."""

import pytest
import torch
from torchvision.models import ResNet

from benchmarks import gpu

SETTINGS = {"precision": "bf16", "channels_last": True, "compile": False}
TINY = gpu.Work("LeNet", (1, 28, 28), 8, 3, 0.0, 4, 2, 2, log_every=2, device="cpu", settings=SETTINGS)
SYNTHETIC = "dataset={type: Synthetic, args: {shape: [3, 32, 32], size: 32, test_size: 16, num_classes: 10}}"
SMALL = (SYNTHETIC, "data_loader.batch_size=8", "model.args.widths=[4, 8, 8]", "trainer.epochs=2", "device=cpu")


def test_both_contenders_are_timed_and_watched():
    reference, ours, busy = gpu.rows_of(TINY, rounds=1)
    assert "images/s, GPU busy" in reference.value and reference.holds is None
    assert "x the reference's time" in ours.value and ours.holds is not None
    assert 0 < float(busy.value.split(" %")[0]) <= 100 and busy.holds
    assert {row.what.split(":")[0] for row in (reference, ours, busy)} == {"LeNet (1, 28, 28), batch 8"}


def test_the_clock_runs_from_mark_to_mark():
    watch = gpu.Watch(TINY)
    for step in (1, 2, 2, 4, 5):  # an epoch's end comes to the logger a second time
        watch.at(step)
    assert not hasattr(watch, "seconds")
    watch.at(6)
    torch.rand(100, 100) @ torch.rand(100, 100)
    watch.at(8)
    assert watch.seconds > 0 and 0 < watch.busy <= 1


def test_busy_is_where_a_kernel_runs():
    spans = {"kernel": [(0, 10), (5, 10), (8, 2), (40, 5)], "gpu_memcpy": [(0, 100)], "overhead": [(20, 10)]}
    events = [{"cat": kind, "ts": ts, "dur": dur} for kind, each in spans.items() for ts, dur in each]
    assert gpu.busy_seconds([*events, {"ph": "M", "name": "process_name"}], "kernel") == pytest.approx(20e-6)
    assert gpu.busy_seconds([], "kernel") == 0


def test_a_library_model_has_the_classes_of_the_work():
    model = gpu.plain_model(TINY._replace(model="resnet18"))
    assert isinstance(model, ResNet) and model.fc.out_features == 10


def test_an_experiment_is_trained_and_evaluated_from_the_command_line():
    row = gpu.cifar_row("cifar10_fast", 1, *SMALL)
    assert row.what == "cifar10_fast to 94 %" and " s of training, " in row.value and row.holds is False
    with pytest.raises(RuntimeError, match="unknown key"):
        gpu.cifar_row("cifar10_fast", 1, "trainer.epoch=2")


@pytest.mark.skipif(torch.cuda.is_available(), reason="for a machine without a GPU")
def test_nothing_is_claimed_without_a_gpu():
    rows = gpu.run(rounds=1, scale=1.0).rows
    assert len(rows) == 4 and all(row.value == "not measured" for row in rows)
