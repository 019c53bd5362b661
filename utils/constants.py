"""Small tensors that every step needs, made once."""

from functools import cache

import torch
from torch import Tensor


@cache
def constant(value: float, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """`value` as a tensor () that is shared by all who ask for it: not to be changed."""
    with torch.inference_mode(False):  # made in inference mode, it could not take part in a backward pass
        return torch.full((), value, device=device, dtype=dtype)
