"""Where the tests marked `cuda` run, and what waits for a GPU.

pytest -m cuda                                  on a machine with a GPU; without one they are skipped
TEMPLATE_CUDA_TESTS_ON=cpu pytest -m cuda       the same code on a CPU, which has no waiting and no memory to count
"""

import contextlib
import os
from collections.abc import Iterator

import pytest
import torch

DEVICE = os.environ.get("TEMPLATE_CUDA_TESTS_ON", "cuda")
IS_GPU = DEVICE != "cpu"
GPU = pytest.param(DEVICE, marks=pytest.mark.cuda)  # among the values of a test that runs on the CPU too


@contextlib.contextmanager
def never_waiting_for_the_gpu() -> Iterator[None]:
    """What waits for the GPU within is an error, where there is one."""
    if not torch.cuda.is_available():
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
