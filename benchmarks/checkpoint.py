"""How long a checkpoint keeps the training thread, against torch.save in its place."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import nn

from benchmarks.harness import Result, Row, interleaved, ratio, timed
from utils.checkpoint_folder import CheckpointFolder
from utils.checkpoint_writer import CheckpointWriter


def contenders(scale: float, folder: Path) -> tuple[dict[str, Callable[[], float]], int]:
    """Functions that save and return the seconds that the training thread waited; and the number of parameters."""
    num_layers = max(1, round(25 * scale))
    model = nn.Sequential(*(nn.Linear(2000, 2000) for _ in range(num_layers)))  # 4 million parameters each
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    optimizer.zero_grad()

    def state() -> dict:
        return {"config": {}, "step": 1, "epoch": 0, "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "lr_scheduler": {}, "best": {}}  # fmt: skip

    writer = CheckpointWriter(CheckpointFolder(folder / "checkpoints"))

    def ours() -> float:
        seconds = timed(lambda: writer.save(state(), 1))
        writer.wait()
        return seconds

    def theirs() -> float:
        return timed(lambda: torch.save(state(), folder / "theirs.pt"))

    return {"torch.save": theirs, "ours": ours}, sum(parameter.numel() for parameter in model.parameters())


def ours(scale: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        save = contenders(scale, Path(folder))[0]["ours"]
        return {"a first checkpoint": save(), "a second": save()}


def run(rounds: int, scale: float) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        saves, num_parameters = contenders(scale, Path(folder))
        seconds = interleaved(saves, rounds)
    stall = ratio(seconds, "ours", "torch.save")
    rows = [
        Row("torch.save in place", f"{median(seconds['torch.save']):.2f} s"),
        Row("ours", f"{median(seconds['ours']):.2f} s, {stall:.2f} x", "<= 0.35 x", stall <= 0.35),
    ]
    return Result(f"{num_parameters / 1e6:.0f} M parameters with AdamW, median of {rounds} rounds after a first.", rows)
