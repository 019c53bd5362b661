"""Sums that grow with every batch."""

from __future__ import annotations

import torch
from torch import Tensor


class RunningSum:
    """The sum of numbers that come in tensors (), in float64, kept where they are: a GPU is not waited for."""

    def __init__(self):
        self._sum: float | Tensor = 0.0  # a tensor from the first number on that comes from a GPU

    def add(self, number: Tensor, times: int = 1) -> None:
        """Add `number`, a tensor () on any device, `times` times."""
        if number.is_cpu:
            self._sum += number.item() * times
            return
        if not isinstance(self._sum, Tensor):
            with torch.inference_mode(False):  # made in inference mode, it could not be added to outside of it
                self._sum = torch.full((), self._sum, dtype=widest_float(number.device), device=number.device)
        self._sum.add_(number.detach(), alpha=times)

    def value(self) -> float:
        return float(self._sum)

    def set(self, value: float | Tensor) -> None:
        self._sum = float(value)


def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 on Apple's GPUs, which have none."""
    return torch.float32 if device.type == "mps" else torch.float64
