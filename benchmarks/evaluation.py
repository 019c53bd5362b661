"""test.py against the same forward passes on ready tensors."""

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.epoch_mnist import NORMALIZE
from benchmarks.harness import Result, Row, interleaved, timed
from benchmarks.pictures import made_up, ready_batches
from tests.make_data import write_mnist

BATCH_SIZE = 128
NUM_FEW, NUM_MANY = 128, 60_000


def config_of(name: str, folder: str) -> dict[str, Any]:
    return {
        "name": name,
        "device": "cpu",
        "dataset": {
            "type": "MNIST",
            "args": {"root": f"{folder}/{name}"},
            "batch_transforms": {"train": [NORMALIZE], "eval": [NORMALIZE]},
        },
        "data_loader": {"batch_size": BATCH_SIZE, "validation_split": 0},
        "model": {"type": "LeNet"},
        "loss": {"type": "CrossEntropyLoss"},
        "metrics": [{"type": "accuracy"}],
        "optimizer": {"type": "Adam", "args": {"lr": 1e-3}},
        "trainer": {"max_steps": 1, "save_dir": folder, "progress": False, "tensorboard": False},
    }


@contextlib.contextmanager
def trained(num_pictures: int) -> Iterator[str]:
    """A folder with two runs, `many` and `few`, that have so many pictures to be tested on."""
    import train

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        for name, size in (("many", num_pictures), ("few", NUM_FEW)):
            write_mnist(Path(folder, name), num_train=NUM_FEW, num_test=size)
            config = Path(folder, f"{name}.yaml")
            config.write_text(json.dumps(config_of(name, folder)))  # JSON is YAML
            assert train.main(["-c", str(config)]) == 0
        yield folder


def tested(folder: str, name: str) -> float:
    import test

    return timed(lambda: test.main(["-r", f"{folder}/{name}/latest"]))


def ours(scale: float) -> dict[str, float]:
    with trained(int(NUM_MANY * scale)) as folder:
        tested(folder, "few")  # imports
        return {"test.py, less start-up": tested(folder, "many") - tested(folder, "few")}


def run(rounds: int, scale: float) -> Result:
    from model.lenet import LeNet

    num_pictures = int(NUM_MANY * scale)
    with trained(num_pictures) as folder:
        ready = ready_batches(*made_up(num_pictures, (1, 28, 28)), BATCH_SIZE)
        model = LeNet().eval()
        model(ready[0][0])
        model.to(memory_format=torch.channels_last)  # as test.py has it

        @torch.inference_mode()
        def floor() -> None:
            for inputs, target in ready:
                output = model(inputs)
                torch.nn.functional.cross_entropy(output, target)
                (output.argmax(1) == target).sum()

        seconds = interleaved(
            {
                "floor": lambda: timed(floor),
                "many": lambda: tested(folder, "many"),
                "few": lambda: tested(folder, "few"),
            },
            rounds,
        )
    ratios = [
        (many - few) / floor for many, few, floor in zip(seconds["many"], seconds["few"], seconds["floor"], strict=True)
    ]
    relative = median(ratios)
    rows = [
        Row("forward passes on ready tensors (floor)", f"{median(seconds['floor']):.2f} s"),
        Row(f"start-up: test.py on {NUM_FEW} pictures, libraries imported", f"{median(seconds['few']):.2f} s"),
        Row("test.py, less start-up", f"{relative:.2f} x the floor", "<= 1.2 x", relative <= 1.2),
    ]
    return Result(f"LeNet on {num_pictures:,} pictures 1x28x28, results written, median of {rounds} rounds.", rows)
