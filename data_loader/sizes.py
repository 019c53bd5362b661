"""How many: samples in the last batch, shares of a batch, loader processes."""

from __future__ import annotations

import os

from utils.distributed import num_local_ranks, num_ranks
from utils.errors import UserError

MOST_AUTO_WORKERS = 4
MOST_LEFT_OUT = 0.05  # of the training samples, in each epoch, unless asked for


def leaves_out_last(num_samples: int, batch_size: int, drop_last: bool | str) -> bool:
    """Whether the last batch is left out when it is not full. auto: a single sample, which no BatchNorm takes, too."""
    left = num_samples % batch_size
    return left <= max(1, MOST_LEFT_OUT * num_samples) if drop_last == "auto" else drop_last


def check_share(batch_size: int) -> None:
    """UserError where the processes of a run cannot have equal shares of a batch."""
    if left := batch_size % num_ranks():
        smaller, larger = batch_size - left, batch_size - left + num_ranks()
        expected = f"{smaller} or {larger}" if smaller else str(larger)
        raise UserError(
            f"data_loader.batch_size: found {batch_size} for {num_ranks()} processes; expected a multiple of that, "
            f"such as {expected}: each takes its share of a batch"
        )


def check_size(part: str, num_samples: int, batch_size: int, drop_last: bool) -> None:
    if num_samples == 0:
        remedy = "; data_loader.validation_split=0.1 takes a tenth of the training part" if "valid part" in part else ""
        raise UserError(f"{part} has 0 samples{remedy}")
    if drop_last and num_samples < batch_size:
        raise UserError(
            f"{part} has {num_samples} samples, less than one batch of {batch_size}, and data_loader.drop_last leaves "
            "out what fills no batch: lower data_loader.batch_size or set data_loader.drop_last=false"
        )


def num_auto_workers() -> int:
    """Loader processes for samples that are read one by one: the cores of this process, at most 4."""
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_AUTO_WORKERS, num_cores // num_local_ranks()))
