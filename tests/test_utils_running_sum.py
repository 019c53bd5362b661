"""Sums of scores are kept where they come from, in float64."""

import contextlib

import pytest
import torch

from base.score_sums import RunningSum
from tests.running import assert_same_state, never_waiting_for_the_gpu, resume, state_of, train
from utils.checkpoint import write_checkpoint

GPU = pytest.param("cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")])


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_numbers_are_added_in_float64_and_a_gpu_is_not_waited_for(device):
    total = RunningSum()
    total.set(1.5)
    numbers = torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 1e6
    on_device = numbers.to(device)
    with never_waiting_for_the_gpu() if device == "cuda" else contextlib.nullcontext():
        for i, number in enumerate(on_device):
            total.add(number, times=i % 7)
    expected = 1.5 + sum(number * (i % 7) for i, number in enumerate(numbers.tolist()))
    assert total.value() == pytest.approx(expected, rel=1e-13)  # float32 has 1e-7
    total.add(torch.tensor([True, False, True], device=device).count_nonzero())
    assert total.value() == pytest.approx(expected + 2, rel=1e-13)
    total.add(torch.tensor(float("nan"), device=device))
    assert total.value() != total.value()


def test_a_checkpoint_whose_sums_are_tensors_is_gone_on_from(tmp_path):
    """As those that were written before sums were numbers; step 3 is in the midst of an epoch."""
    run = train(tmp_path, "metrics=[accuracy]", "trainer.save_every=3 steps", "trainer.keep_last=9")
    whole, state = state_of(run), state_of(run, 3)
    sums = state["train_sums"]
    for holder, key in ((sums, "loss_sum"), (sums["metrics"]["accuracy"], "sum")):
        holder[key] = torch.tensor(holder[key], dtype=torch.float64)
    older = run / "checkpoints/step-000000003.pt"
    older.unlink()
    write_checkpoint(older, state)
    resume(older)
    assert_same_state(state_of(run), whole)
