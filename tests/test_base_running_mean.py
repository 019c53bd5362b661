"""Sums of scores are kept where they come from, in float64."""

import pytest
import torch

from base.running_mean import RunningMean
from tests.gpu import GPU, never_waiting_for_the_gpu


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_numbers_are_added_in_float64_and_a_gpu_is_not_waited_for(device):
    mean, numbers = RunningMean(), torch.rand(1000, generator=torch.Generator().manual_seed(0)) * 1e6
    mean.merge({"sum": 1.5, "weight": 3.0, "seen": [0.0, 0.0]})
    on_device = numbers.to(device)
    with never_waiting_for_the_gpu():
        for i, number in enumerate(on_device):
            mean.add_mean(number, i % 7)
            mean.add(number, torch.ones((), device=device))
    total = 1.5 + sum(number * (i % 7 + 1) for i, number in enumerate(numbers.tolist()))
    weight = 1003.0 + sum(i % 7 for i in range(1000))
    assert mean.value() == mean.recent_value() == pytest.approx(total / weight, rel=1e-13)  # float32 has 1e-7
    mean.add(torch.tensor([True, False, True], device=device).count_nonzero(), 4)
    assert mean.recent_value() == 0.5 and mean.recent_value() != mean.recent_value()  # nan, of nothing
    mean.add(torch.tensor(float("nan"), device=device), 1)
    assert mean.value() != mean.value()
