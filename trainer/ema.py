"""The exponential moving average of the weights, kept apart from the weights themselves."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from utils.torch_internals import copy_all, values_of


class EMA:
    """A second model whose weights follow the first: ema = decay * ema + (1 - decay) * weights; buffers are copied.

    The first update is a copy. A GPU is not waited for.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model = copy.deepcopy(model)
        self.num_updates = 0
        self._average = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        averages, weights = values_of(self.model.parameters()), values_of(model.parameters())
        if self.num_updates:
            self._average(averages, weights, None)
        else:
            copy_all(averages, weights)
        copy_all(list(self.model.buffers()), list(model.buffers()))
        self.num_updates += 1

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "num_updates": self.num_updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.num_updates = int(state["num_updates"])
