"""test.py against the same forward passes on ready tensors."""

import contextlib
import io
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.epoch_mnist import NORMALIZE
from benchmarks.harness import Result, Row, interleaved, timed
from benchmarks.pictures import made_up, ready_batches
from benchmarks.template import checked
from tests.make_data import write_mnist


def config_of(name: str, folder: str, batch_size: int) -> dict[str, Any]:
    return {
        "name": name,
        "dataset": {
            "type": "MNIST",
            "args": {"root": f"{folder}/{name}"},
            "batch_transforms": {"train": [NORMALIZE], "eval": [NORMALIZE]},
        },
        "data_loader": {"batch_size": batch_size, "validation_split": 0},
        "model": {"type": "LeNet"},
        "loss": {"type": "CrossEntropyLoss"},
        "metrics": [{"type": "accuracy"}],
        "optimizer": {"type": "Adam", "args": {"lr": 1e-3}},
        "trainer": {"max_steps": 1, "save_dir": folder, "progress": False, "tensorboard": False},
    }


def run(rounds: int, scale: float) -> Result:
    import test
    from experiment import build_trainer, train_in_folder

    num_pictures, num_few, batch_size = int(60_000 * scale), 128, 128
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        for name, size in (("many", num_pictures), ("few", num_few)):
            write_mnist(Path(folder, name), num_train=num_few, num_test=size)
            made = checked(config_of(name, folder, batch_size))
            trainer = build_trainer(made)
            train_in_folder(None, trainer, made, None)
        model = trainer.model.eval()
        ready = ready_batches(*made_up(num_pictures, (1, 28, 28)), batch_size)

        @torch.inference_mode()
        def floor() -> None:
            for inputs, target in ready:
                output = model(inputs)
                torch.nn.functional.cross_entropy(output, target)
                (output.argmax(1) == target).sum()

        def tested(name: str) -> float:
            return timed(lambda: test.main(["-r", f"{folder}/{name}/latest"]))

        seconds = interleaved(
            {"floor": lambda: timed(floor), "many": lambda: tested("many"), "few": lambda: tested("few")}, rounds
        )
    ratios = [
        (many - few) / floor for many, few, floor in zip(seconds["many"], seconds["few"], seconds["floor"], strict=True)
    ]
    relative = median(ratios)
    rows = [
        Row("forward passes on ready tensors (floor)", f"{median(seconds['floor']):.2f} s"),
        Row(f"start-up: test.py on {num_few} pictures, libraries imported", f"{median(seconds['few']):.2f} s"),
        Row("test.py, less start-up", f"{relative:.2f} x the floor", "<= 1.2 x", relative <= 1.2),
    ]
    return Result(f"LeNet on {num_pictures:,} pictures 1x28x28, results written, median of {rounds} rounds.", rows)
