"""The one evaluation loop: validation, test.py and whatever else looks at a model's outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from base.batch import Batch, Forward
from base.score_sums import ScoreSums
from trainer.forward import ForwardPass
from utils.distributed import of_rank
from utils.seeding import seed_everything


@torch.inference_mode()
def evaluate(
    forward_pass: ForwardPass,
    model: nn.Module,
    batches: Iterable[Batch],
    sums: ScoreSums,
    seed: int,
    visit: Callable[[Batch, Forward], None] | None = None,
    should_stop: Callable[[], Any] = lambda: False,
) -> dict[str, float] | None:
    """Loss and metrics over all batches, averaged over samples; None when `should_stop` became true meanwhile.

    visit: called with each batch and what came of it, to collect outputs.
    The model is left in evaluation mode. Random transforms draw from (seed, batch), so nothing is taken from the
    training stream and the same split always gives the same numbers.
    """
    model.eval()
    sums.reset()
    for i, batch in enumerate(batches):
        if should_stop():
            return None
        seed_everything(seed, "evaluation", i, *of_rank())
        result = forward_pass(model, batch, training=False)
        sums.update(result, batch)
        if visit is not None and batch.counts:
            visit(batch, result)
    return sums.compute()
