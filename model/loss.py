"""Own losses.

A loss is a registered function of (output, target), or a class whose objects are called so, that returns the mean over
the samples of a batch as a tensor (). Where something else counts than samples, such as the targets that are there, it
returns the sum and what to divide it by, two tensors (), What follows
`target` can be set under `loss.args`.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from base import LOSSES
from utils.errors import UserError


@LOSSES.register
def focal_loss(
    output: Tensor, target: Tensor, gamma: Annotated[float, Field(ge=0)] = 2.0, weight: Tensor | None = None
) -> Tensor:
    """Cross entropy that counts samples less the better they are classified already.

    output: logits (N, C). target: classes (N,). weight: of each class (C,).
    Source: Lin et al., Focal loss for dense object detection, 2017.
    """
    if weight is not None and weight.shape != output.shape[1:]:
        found, expected = tuple(weight.shape), tuple(output.shape[1:])
        raise UserError(f"loss focal_loss: the weight has shape {found}; expected one number a class, {expected}")
    log_probability = F.log_softmax(output, dim=1)
    entropy = F.nll_loss(log_probability, target, weight, reduction="none")  # (N,)
    probability = log_probability.gather(1, target[:, None]).squeeze(1).exp()  # (N,), of the right class
    return ((1 - probability) ** gamma * entropy).mean()
