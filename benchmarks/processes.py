"""Two processes of one thread each against one process of two threads."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.harness import ROOT, Result, Row, interleaved

CONFIG = """\
name: processes
device: cpu
dataset: {{type: Synthetic, args: {{shape: [3, 32, 32], size: {size}, num_classes: 10}}}}
data_loader: {{batch_size: {batch_size}, validation_split: 0, drop_last: true}}
model: {{type: SmallResNet, args: {{width: 16}}}}
loss: CrossEntropyLoss
optimizer: {{type: SGD, args: {{lr: 0.01, momentum: 0.9}}}}
trainer: {{epochs: 2, log_every: 10, tensorboard: false, progress: false, save_every: end}}
"""
BATCH = 128


def command(num_processes: int) -> list[str]:
    if num_processes == 1:
        return [sys.executable, "train.py"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*torchrun, "--nproc-per-node", str(num_processes), "train.py"]


def samples_per_second(size: int, num_processes: int, num_threads: int, alone: bool = False) -> float:
    """Of the second epoch. alone: as many runs that know nothing of each other, each with its share of the samples."""
    with tempfile.TemporaryDirectory() as folder:
        num_runs, per_run = (num_processes, 1) if alone else (1, num_processes)
        config = Path(folder) / "processes.yaml"
        config.write_text(CONFIG.format(size=size // num_runs, batch_size=BATCH // num_runs))
        environment = {**os.environ, "OMP_NUM_THREADS": str(num_threads)}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        runs = [
            subprocess.Popen([*command(per_run), *place], cwd=ROOT, env=environment, **pipes)
            for place in (["-c", str(config), f"trainer.save_dir={folder}/{number}"] for number in range(num_runs))
        ]
        for run in runs:
            _, told = run.communicate()
            if run.returncode:
                raise RuntimeError(told[-2000:])
        tables = [csv.DictReader(path.open()) for path in Path(folder).glob("*/processes/2*/metrics.csv")]
        return sum(float(list(table)[-1]["samples_per_second"]) for table in tables)


def run(rounds: int, scale: float) -> Result:
    size = max(2 * BATCH, int(8192 * scale))
    contenders = {
        "one process, two threads": partial(samples_per_second, size, 1, 2),
        "two processes, one thread": partial(samples_per_second, size, 2, 1),
        "two runs apart, one thread": partial(samples_per_second, size, 2, 1, alone=True),
    }
    found = interleaved(contenders, rounds, warm_up=False)
    one, two, apart = found.values()
    gain = median(a / b for a, b in zip(two, one, strict=True))
    share = 1 - median(a / b for a, b in zip(two, apart, strict=True))
    rows = [Row(name, f"{median(rates):,.0f} pictures/s") for name, rates in found.items()]
    rows += [
        Row("two processes against one", f"{gain:.2f} x", ">= 0.9 x", gain >= 0.9),
        Row("share of the time that goes into being together", f"{100 * share:.0f} %"),
    ]
    work = f"A small residual network, {size:,} pictures (3, 32, 32) in batches of {BATCH}, {rounds} rounds."
    return Result(work, rows)
