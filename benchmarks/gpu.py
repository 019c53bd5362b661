"""On a CUDA GPU: LeNet and ResNet-50 on made-up pictures, and CIFAR-10 to 94 %, where there is one.

The reference is the loop of torchvision's and timm's training scripts at the same settings, batches ready on the GPU:
what those scripts reach when their loader keeps up. `python -m benchmarks gpu` looks for CIFAR-10 in data/.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import nn

from benchmarks.harness import ROOT, Result, Row, interleaved, ratio
from benchmarks.template import checked

SETTINGS = {"precision": "bf16", "channels_last": True, "compile": True}


def run(rounds: int, scale: float) -> Result:
    if not torch.cuda.is_available():
        return Result("There is no CUDA GPU here.", [Row("LeNet, ResNet-50, CIFAR-10 to 94 %", "not measured")])
    num_steps = max(20, int(300 * scale))
    rows = []
    for name, shape, batch_size in (("LeNet", (1, 28, 28), 1024), ("resnet50", (3, 224, 224), 256)):
        trainer = trainer_of(name, shape, batch_size, num_steps)
        ours = epoch_of(trainer)
        theirs = reference_epoch(trainer, num_steps)
        seconds = interleaved({"reference": theirs, "ours": ours}, rounds)
        relative = ratio(seconds, "ours", "reference")
        busy = gpu_busy(ours)
        images = num_steps * batch_size / median(seconds["ours"])
        rows += [
            Row(f"{name} {shape}, batch {batch_size}", f"{images:,.0f} images/s, {relative:.2f} x the reference's time",
                "<= 1.0 x", relative <= 1.0),
            Row(f"{name}: GPU busy", f"{100 * busy:.0f} %", "> 95 %", busy > 0.95),
        ]  # fmt: skip
    rows.append(cifar_row())
    return Result(f"bf16, channels_last, compile; {num_steps} steps, median of {rounds} rounds.", rows)


def trainer_of(name: str, shape: tuple[int, ...], batch_size: int, num_steps: int) -> Any:
    from experiment import build_trainer

    normalize = {"type": "Normalize", "args": {"mean": [0.5], "std": [0.25]}}
    size = batch_size * num_steps if name == "LeNet" else batch_size * 8  # these are in memory, and read over and over
    return build_trainer(
        checked(
            {
                "device": "cuda",
                "dataset": {
                    "type": "Synthetic",
                    "args": {"shape": list(shape), "size": size, "num_classes": 10, "dtype": "uint8"},
                    "batch_transforms": {"train": [normalize]},
                },
                "data_loader": {"batch_size": batch_size, "validation_split": 0},
                "model": {"type": name, "args": {"num_classes": 10}},
                "loss": {"type": "CrossEntropyLoss"},
                "metrics": [{"type": "accuracy"}],
                "optimizer": {"type": "SGD", "args": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}},
                "trainer": {"max_steps": num_steps, **SETTINGS},
            }
        )
    )


def epoch_of(trainer: Any):
    """Our steps, with prefetching, over batches read beforehand: what is measured is not the making of pictures."""
    from data_loader.prefetch import on_device_ahead

    batches = ready_batches(trainer)

    def epoch() -> float:
        torch.cuda.synchronize()
        start = perf_counter()
        for step, batch in enumerate(
            on_device_ahead(repeated(batches, trainer.plan.total_steps), trainer.forward_pass.device), 1
        ):
            trainer.step = step
            trainer.train_step([batch])
            if step % trainer.settings.log_every == 0:
                trainer.train_sums.compute_recent()
        torch.cuda.synchronize()
        return perf_counter() - start

    return epoch


def reference_epoch(trainer: Any, num_steps: int):
    """The loop of torchvision's references/classification/train.py, with its prefetcher's best case."""
    import copy

    device = trainer.forward_pass.device
    model = copy.deepcopy(trainer.model)
    compiled = torch.compile(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()
    batches = ready_batches(trainer)

    def epoch() -> float:
        torch.cuda.synchronize()
        start = perf_counter()
        for step, batch in enumerate(repeated(batches, num_steps), 1):
            inputs, target = (tensor.to(device, non_blocking=True) for tensor in batch.data)
            inputs = (inputs.float().div_(255) - 0.5).div_(0.25).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cuda", dtype=torch.bfloat16):
                output = compiled(inputs)
                loss = criterion(output, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % trainer.settings.log_every == 0:
                loss.item()
                (output.argmax(1) == target).float().mean().item()
        torch.cuda.synchronize()
        return perf_counter() - start

    return epoch


def ready_batches(trainer: Any) -> list:
    """Eight batches in pinned memory."""
    from itertools import islice

    batches = islice(trainer.train_loader.batches(), 8)
    return [batch._replace(data=tuple(tensor.cpu().pin_memory() for tensor in batch.data)) for batch in batches]


def repeated(batches: list, num_steps: int):
    return (batches[i % len(batches)] for i in range(num_steps))


def gpu_busy(epoch) -> float:
    """The share of an epoch's time in which a kernel ran."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        seconds = epoch()
    kernels = [event.time_range for event in profiled.events() if event.device_type.name == "CUDA"]
    busy, end = 0.0, 0.0
    for interval in sorted(kernels, key=lambda interval: interval.start):  # streams overlap
        busy += max(0.0, interval.end - max(interval.start, end))
        end = max(end, interval.end)
    return busy / 1e6 / seconds


def cifar_row() -> Row:
    what = "config/cifar10_resnet.yaml to 94 %"
    if not Path("data/cifar-10-batches-py").is_dir():
        return Row(what, "not measured: data/ holds no CIFAR-10", ">= 94 %")
    with tempfile.TemporaryDirectory() as folder:
        train = ["train.py", "-c", "config/cifar10_resnet.yaml", f"trainer.save_dir={folder}"]
        start = perf_counter()
        subprocess.run([sys.executable, *train], cwd=ROOT, check=True, capture_output=True)
        seconds = perf_counter() - start
        test = ["test.py", "-r", f"{folder}/cifar10_resnet/latest"]
        output = subprocess.run([sys.executable, *test], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    accuracy = float(output.split("accuracy: ")[1].split()[0])
    return Row(what, f"{100 * accuracy:.2f} % after {seconds:.0f} s", ">= 94 %", accuracy >= 0.94)
