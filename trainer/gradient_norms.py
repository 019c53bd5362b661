"""The norm of the gradients of each group of parameters, as a score of the steps: trainer.log_grad_norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.optim import Optimizer

from trainer.sharding import is_divided
from utils.torch_internals import values_of

if TYPE_CHECKING:
    from trainer.trainer import Trainer


def log_gradient_norms(trainer: Trainer, optimizers: Mapping[str, Optimizer]) -> None:
    """Log grad_norm, and grad_norm_1, ... of further groups; of several optimizers grad_norm_NAME, grad_norm_NAME_1.

    Of gradients as they are, before they are clipped, in means over samples like every score. A step whose scaled
    gradients overflow (fp16), and which is left out for that, does not count.
    """
    num_samples = trainer.own_steps.num_samples
    for name, optimizer in optimizers.items():
        own = f"grad_norm_{name}" if len(trainer.optimizers) > 1 else "grad_norm"
        for i, group in enumerate(optimizer.param_groups):
            gradients = [parameter.grad for parameter in group["params"] if parameter.grad is not None]
            if any(map(is_divided, gradients)):
                norm = nn.utils.get_total_norm(gradients).full_tensor()
            else:
                norm = nn.utils.get_total_norm(values_of(gradients))
            counts = torch.isfinite(norm)
            trainer.train_sums.named.log(f"{own}_{i}" if i else own, norm.nan_to_num(0, 0, 0), counts * num_samples)
