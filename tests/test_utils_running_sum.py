import pytest
import torch

from base.score_sums import RunningSum
from tests.running import assert_same_state, never_waiting_for_the_gpu, resume, state_of, train
from utils.checkpoint import write_checkpoint


def test_numbers_are_added_in_float64():
    total = RunningSum()
    numbers = torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 1e6
    expected = 0.0
    for i, number in enumerate(numbers):
        total.add(number, times=i % 7)
        expected += number.item() * (i % 7)
    assert total.value() == expected == pytest.approx((numbers.double() * (torch.arange(1000) % 7)).sum().item())


def test_it_goes_on_from_a_number_or_a_tensor_with_counts_and_nan():
    for value in (1.5, torch.tensor(1.5, dtype=torch.float64)):
        total = RunningSum()
        total.set(value)
        total.add(torch.tensor(2.0), times=3)
        assert total.value() == 7.5
        total.add(torch.tensor([True, False, True]).count_nonzero())
        assert total.value() == 9.5
        total.add(torch.tensor(float("nan")))
        assert total.value() != total.value()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu_without_waiting_for_it():
    total = RunningSum()
    total.set(1.5)
    numbers = torch.rand(100, device="cuda")
    with never_waiting_for_the_gpu():
        for number in numbers:
            total.add(number, times=3)
    assert total.value() == pytest.approx(1.5 + 3 * numbers.double().sum().item())


def test_a_checkpoint_whose_sums_are_tensors_is_gone_on_from(tmp_path):
    """As those that were written before sums were numbers; step 3 is in the midst of an epoch."""
    run = train(tmp_path, "metrics=[accuracy]", "trainer.save_every=3 steps", "trainer.keep_last=9")
    whole = state_of(run)
    older = run / "checkpoints/step-000000003.pt"
    state = state_of(run, 3)
    sums = state["train_sums"]
    sums["loss_sum"] = torch.tensor(sums["loss_sum"], dtype=torch.float64)
    mean = sums["metrics"]["accuracy"]
    mean["sum"] = torch.tensor(mean["sum"], dtype=torch.float64)
    older.unlink()
    write_checkpoint(older, state)
    resume(older)
    assert_same_state(state_of(run), whole)
