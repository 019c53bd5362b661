"""On a CUDA GPU: this project's loop and a training script's on the same model, and CIFAR-10 to 94 %.

Each contender has a process of its own and trains in bf16, channels last and compiled. The clock stands still until
model and convolutions are compiled and tuned, and is read where the GPU has been waited for: at log points.

Ours is the whole of `fit`, with all that it does: it picks the pictures of a batch out of the GPU's memory, where data
that fit live, seeds, trains, looks for nan, sums loss and accuracy, logs, draws a progress bar, ends epochs.
The reference is the loop of timm's and torchvision's training scripts with a loader that always keeps up: its batches
lie ready in pinned memory as uint8, and each is copied on a stream of its own while the one before is trained on. Its
process has what these scripts set, cudnn's tuning, and nothing that this project sets. Its optimizer is fused too.

A small model shows what the host costs, since the GPU waits for it: LeNet. A large one shows whether the host ever
holds up the GPU: ResNet-50. How busy the GPU is, is measured in further steps, because the profiler slows the host.
`python -m benchmarks gpu` looks for CIFAR-10 in data/.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from base import LOGGERS
from benchmarks.harness import ROOT, Result, Row, in_a_process, interleaved, ratio

SETTINGS = {"precision": "bf16", "channels_last": True, "compile": True}
CONTENDERS = ("reference", "ours")
OPTIMIZER = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}
CIFAR = ("cifar10_fast", "cifar10_resnet")  # in config/


class Work(NamedTuple):
    """What both contenders train, and for how long.

    num_batches: that lie in memory, and are an epoch. warm_up, timed, watched: steps before the clock, on the clock,
    and with the profiler; multiples of log_every. least_busy: the share of time that the GPU must be busy in ours.
    """

    model: str
    shape: tuple[int, ...]
    batch_size: int
    num_batches: int
    least_busy: float | None = None
    timed: int = 300
    warm_up: int = 30
    watched: int = 30
    log_every: int = 10
    device: str = "cuda"
    settings: dict[str, Any] = SETTINGS

    @property
    def num_steps(self) -> int:
        return self.warm_up + self.timed + self.watched


WORKS = (
    Work("LeNet", (1, 28, 28), batch_size=1024, num_batches=60),
    Work("resnet50", (3, 224, 224), batch_size=256, num_batches=20, least_busy=0.95),
)


def run(rounds: int, scale: float) -> Result:
    if not torch.cuda.is_available():
        names = [f"{work.model} against the reference" for work in WORKS] + [f"{name} to 94 %" for name in CIFAR]
        return Result("There is no CUDA GPU here.", [Row(name, "not measured") for name in names])
    rows = []
    for work in WORKS:
        num_timed = max(1, round(work.timed * scale / work.log_every)) * work.log_every
        rows += rows_of(work._replace(timed=num_timed), rounds)
    for name in CIFAR:
        is_there = (ROOT / "data/cifar-10-batches-py").is_dir()
        absent = Row(f"{name} to 94 %", "not measured: data/ holds no CIFAR-10")
        rows.append(cifar_row(name, num_seeds=rounds) if is_there else absent)
    return Result(
        f"bf16, channels last, compiled; {num_timed} steps in memory; medians of {rounds} rounds, of CIFAR-10 the mean "
        f"accuracy of {rounds} seeds.",
        rows,
    )


def rows_of(work: Work, rounds: int) -> list[Row]:
    """One model, ours and the reference in turn."""
    measured = interleaved(
        {name: partial(in_a_process, "gpu", "measure", name, work._asdict()) for name in CONTENDERS},
        rounds,
        warm_up=False,
    )
    seconds = {name: [each["seconds"] for each in measured[name]] for name in CONTENDERS}
    busy = {name: median(each["busy"] for each in measured[name]) for name in CONTENDERS}
    images = {name: work.timed * work.batch_size / median(seconds[name]) for name in CONTENDERS}
    relative = ratio(seconds, "ours", "reference")
    what = f"{work.model} {work.shape}, batch {work.batch_size}"
    bound = "the GPU" if busy["ours"] > 0.9 else "the host"
    least = work.least_busy
    return [
        Row(f"{what}: reference", f"{images['reference']:,.0f} images/s, GPU busy {100 * busy['reference']:.0f} %"),
        Row(f"{what}: ours", f"{images['ours']:,.0f} images/s, {relative:.2f} x the reference's time", "<= 1.0 x",
            relative <= 1.0),
        Row(f"{what}: GPU busy in ours", f"{100 * busy['ours']:.0f} %: {bound} is what a step waits for",
            "" if least is None else f">= {100 * least:.0f} %", None if least is None else busy["ours"] >= least),
    ]  # fmt: skip


def measure(contender: str, work: dict[str, Any]) -> dict[str, float]:
    """The seconds of the timed steps, and the share of the watched ones in which the GPU was busy."""
    work = Work(**work)
    watch = Watch(work)
    {"ours": ours, "reference": reference}[contender](work, watch)
    return {"seconds": watch.seconds, "busy": watch.busy}


class Watch:
    """The time of the timed steps, and the busy share of the watched ones; `at` is called at every log point."""

    def __init__(self, work: Work):
        self.device = work.device
        end = work.warm_up + work.timed
        self._due = [(work.warm_up, self._start), (end, self._watch), (work.num_steps, self._stop)]

    def at(self, step: int) -> None:
        """After so many steps, of which the device has finished all."""
        if self._due and self._due[0][0] == step:
            self._due.pop(0)[1]()

    def _start(self) -> None:
        self._since = perf_counter()

    def _watch(self) -> None:
        from torch.profiler import ProfilerActivity, profile

        self.seconds = perf_counter() - self._since
        self._profiler = profile(activities=[ProfilerActivity.CUDA if self.device == "cuda" else ProfilerActivity.CPU])
        self._profiler.start()
        self._since = perf_counter()

    def _stop(self) -> None:
        watched = perf_counter() - self._since
        self._profiler.stop()
        with tempfile.TemporaryDirectory() as folder:
            self._profiler.export_chrome_trace(f"{folder}/trace.json")
            events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
        self.busy = busy_seconds(events, "kernel" if self.device == "cuda" else "cpu_op") / watched


def busy_seconds(events: Iterable[dict[str, Any]], kind: str) -> float:
    """How long at least one event of a kind was under way. A GPU's kernels are one; copies, memset, markers and
    CUPTI's own overhead are of other kinds.

    events: of a Chrome trace, in microseconds.
    """
    spans = sorted((event["ts"], event["ts"] + event["dur"]) for event in events if event.get("cat") == kind)
    busy, end = 0.0, 0.0
    for first, last in spans:  # streams overlap
        busy += max(0.0, last - max(first, end))
        end = max(end, last)
    return busy / 1e6


@LOGGERS.register
class Stopwatch:
    """Tells the watch of log points, for which the loop has waited for the GPU to read the loss."""

    watch: Watch

    def __init__(self, folder: Path): ...

    def log(self, step: int, scores: dict[str, float]) -> None:
        self.watch.at(step)

    def flush(self) -> None: ...

    def close(self) -> None: ...


def ours(work: Work, watch: Watch) -> None:
    from benchmarks import pictures  # noqa: F401  (registers its dataset)
    from benchmarks.template import fit

    Stopwatch.watch = watch
    fit(
        {
            "device": work.device,
            "dataset": {
                "type": "BenchmarkPictures",
                "args": {"shape": list(work.shape), "size": work.num_batches * work.batch_size},
                "batch_transforms": {"train": [{"type": "Normalize", "args": {"mean": [0.5], "std": [0.25]}}]},
            },
            "data_loader": {"batch_size": work.batch_size, "validation_split": 0},
            "model": {"type": work.model, "args": {"num_classes": 10}},
            "loss": {"type": "CrossEntropyLoss"},
            "metrics": [{"type": "accuracy"}],
            "optimizer": {"type": "SGD", "args": OPTIMIZER},
            "trainer": {
                "max_steps": work.num_steps,
                "save_every": "end",
                "log_every": work.log_every,
                "loggers": [{"type": "Stopwatch"}],
                **work.settings,
            },
        }
    )


def reference(work: Work, watch: Watch) -> None:
    from benchmarks.pictures import made_up

    torch.backends.cudnn.benchmark = True
    device = torch.device(work.device)
    torch.manual_seed(0)
    model = plain_model(work).to(device, memory_format=torch.channels_last)
    forward = torch.compile(model) if work.settings["compile"] else model
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER, fused=True)
    pictures, targets = made_up(work.num_batches * work.batch_size, work.shape)
    batches = list(zip(pictures.split(work.batch_size), targets.split(work.batch_size), strict=True))
    if device.type == "cuda":
        batches = [(inputs.pin_memory(), target.pin_memory()) for inputs, target in batches]
    endless = (batches[step % len(batches)] for step in range(work.num_steps))
    losses, hits = [], []
    for step, (inputs, target) in enumerate(normalised_ahead(endless, device), 1):
        with torch.autocast(device.type, dtype=torch.bfloat16):
            output = forward(inputs)
            loss = criterion(output, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        hits.append((output.detach().argmax(dim=1) == target).sum())
        if step % work.log_every == 0:
            torch.stack([torch.stack(losses).mean(), torch.stack(hits).sum()]).tolist()
            losses, hits = [], []
            watch.at(step)


def plain_model(work: Work) -> nn.Module:
    """torchvision's model, or this project's LeNet."""
    if work.model != "LeNet":
        from torchvision import models

        return models.get_model(work.model, num_classes=10)
    from model.lenet import LeNet

    model = LeNet(num_classes=10)
    model(torch.zeros(2, *work.shape))  # its lazy layer takes its shape
    return model


def normalised_ahead(batches: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches as normalised floats on the device, each copied while the one before it is in use."""
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def copied(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.cuda.stream(stream):  # no stream: as it is
            inputs, target = (tensor.to(device, non_blocking=True) for tensor in batch)
            inputs = inputs.float().div_(255).sub_(0.5).div_(0.25)
            return inputs.contiguous(memory_format=torch.channels_last), target

    waiting = None
    for batch in batches:
        ahead = copied(batch)
        if waiting is not None:
            yield waiting
        if stream is not None:
            torch.cuda.current_stream(device).wait_stream(stream)
            for tensor in ahead:
                tensor.record_stream(torch.cuda.current_stream(device))
        waiting = ahead
    yield waiting


def cifar_row(name: str, num_seeds: int, *overrides: str) -> Row:
    """An experiment of config/ from the command line, with several seeds: its accuracy by test.py, and its time."""
    accuracies, training, whole = [], [], []
    for seed in range(num_seeds):
        with tempfile.TemporaryDirectory() as folder:
            start = perf_counter()
            command("train.py", "-c", f"config/{name}.yaml", f"seed={seed}", f"trainer.save_dir={folder}", *overrides)
            whole.append(perf_counter() - start)
            command("test.py", "-r", f"{folder}/{name}/latest", "--out", f"{folder}/test")
            accuracies.append(json.loads(Path(folder, "test/metrics.json").read_text())["accuracy"])
            training.append(seconds_of_epochs(Path(folder, name, "latest", "metrics.csv")))
    accuracy = mean(accuracies)
    seconds = f"{median(training):.1f} s of training, {median(whole):.1f} s from the command to its end"
    return Row(f"{name} to 94 %", f"{100 * accuracy:.2f} % after {seconds}", ">= 94 %", accuracy >= 0.94)


def command(*words: str) -> None:
    finished = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    if finished.returncode:
        raise RuntimeError(f"{' '.join(words)}: {finished.stderr[-2000:]}")


def seconds_of_epochs(metrics_csv: Path) -> float:
    with open(metrics_csv, encoding="utf-8", newline="") as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file))
