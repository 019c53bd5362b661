"""The mean of numbers that come bit by bit, from any device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from utils.distributed import summed


class RunningMean:
    """A sum and the weight to divide it by, in float64, kept where they come from: a GPU is not waited for."""

    def __init__(self):
        self.reset()

    def reset(self) -> None:
        self.total: float | Tensor = 0.0  # tensors from the first number on that comes from a GPU
        self.weight: float | Tensor = 0.0
        self.seen = [0.0, 0.0]  # both at the last look at the recent value

    def add(self, total: Tensor | float, weight: Tensor | float) -> None:
        """Add numbers of which `total` is the sum. Both are numbers, or tensors () on any device."""
        self.total = _plus(self.total, total)
        self.weight = _plus(self.weight, weight)

    def add_mean(self, mean: Tensor, weight: Tensor | float) -> None:
        """Add numbers whose mean this is."""
        if mean.is_cpu:
            self.add(mean.item() * weight, weight)
        else:
            self.add(mean.detach().to(widest_float(mean.device)) * weight, weight)

    def value(self) -> float:
        """The mean of all since `reset`, in all processes; nan of none."""
        return _quotient(*summed(float(self.total), float(self.weight)))

    def recent_value(self) -> float:
        """The mean of all since the last call."""
        return recent_values([self])[0]

    def state_dict(self) -> dict[str, Any]:
        return {"sum": float(self.total), "weight": float(self.weight), "seen": self.seen}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, or add it to what was counted so far."""
        self.total, self.weight = self.total + float(state["sum"]), self.weight + float(state["weight"])
        self.seen = [mine + its for mine, its in zip(self.seen, state["seen"], strict=True)]


def recent_values(means: Sequence[RunningMean]) -> list[float]:
    """The recent value of each, in all processes, for which a GPU is waited for once."""
    parts = [part for mean in means for part in (mean.total, mean.weight)]
    there = [part for part in parts if isinstance(part, Tensor)]
    fetched = iter(torch.stack(there).tolist() if there else ())
    numbers = iter([next(fetched) if isinstance(part, Tensor) else part for part in parts])
    recent: list[float] = []
    for mean, total, weight in zip(means, numbers, numbers, strict=True):
        recent += [total - mean.seen[0], weight - mean.seen[1]]
        mean.seen = [total, weight]
    sums = summed(*recent)
    return [_quotient(*sums[i : i + 2]) for i in range(0, len(sums), 2)]


def _plus(total: float | Tensor, number: Tensor | float) -> float | Tensor:
    if not isinstance(number, Tensor):
        return total + number
    if number.is_cpu:
        return total + number.item()
    if not isinstance(total, Tensor):
        with torch.inference_mode(False):  # made in inference mode, it could not be added to outside of it
            total = torch.full((), total, dtype=widest_float(number.device), device=number.device)
    return total.add_(number.detach())


def _quotient(total: float, weight: float) -> float:
    return total / weight if weight else math.nan


def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 on Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64
