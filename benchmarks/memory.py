"""Resident memory: over a long run, and against a hand-written loop."""

from functools import partial
from statistics import median

from benchmarks.harness import Result, Row, in_a_process, interleaved, ratio
from benchmarks.scale import config_of


def growth(num_first: int, num_last: int) -> tuple[float, float]:
    """Megabytes after num_first and after num_last steps of a run with logs and a progress bar."""
    from base.base_trainer import BaseTrainer
    from benchmarks.template import fit, resident_megabytes

    seen = {}
    original = BaseTrainer.do_what_is_due

    def do_what_is_due(trainer):
        if trainer.step in (num_first, num_last):
            seen[trainer.step] = resident_megabytes()
        original(trainer)

    BaseTrainer.do_what_is_due = do_what_is_due
    config = config_of(32 * num_last)
    fit({**config, "trainer": {"epochs": 1, "monitor": "off"}})
    return seen[num_first], seen[num_last]


def peak(contender: str, num_pictures: int) -> float:
    """The most megabytes that an epoch of LeNet took."""
    import copy
    import tempfile
    from pathlib import Path

    import torch
    from torch.utils.data import DataLoader
    from torchvision import transforms

    from benchmarks import epoch_mnist, peers, pictures
    from benchmarks.template import fit, resident_megabytes
    from model.lenet import LeNet

    shape = (1, 28, 28)
    if contender == "ours":
        normalize = [epoch_mnist.NORMALIZE]
        fit(
            {
                "dataset": {
                    "type": "BenchmarkPictures",
                    "args": {"shape": list(shape), "size": num_pictures},
                    "batch_transforms": {"train": normalize, "eval": normalize},
                },
                "data_loader": {"batch_size": 128, "validation_split": 0.1},
                "model": {"type": "LeNet"},
                "loss": {"type": "CrossEntropyLoss"},
                "metrics": [{"type": "accuracy"}],
                "optimizer": {"type": "Adam", "args": {"lr": 1e-3}},
                "trainer": {"epochs": 1, "monitor": "off"},
            }
        )
        return resident_megabytes(peak=True)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.25,))])
    data, targets = pictures.made_up(num_pictures, shape)
    num_train = num_pictures * 9 // 10
    loaders = [
        DataLoader(pictures.torchvision_dataset(data[part], targets[part], transform), 128)
        for part in (slice(num_train), slice(num_train, None))
    ]
    model = copy.deepcopy(LeNet())
    model(torch.zeros(1, *shape))
    with tempfile.TemporaryDirectory() as folder:
        peers.hand_written(model, torch.optim.Adam(model.parameters()), *loaders, Path(folder))
    return resident_megabytes(peak=True)


def run(rounds: int, scale: float) -> Result:
    num_last, num_pictures = int(100_000 * scale), int(60_000 * scale)
    num_first = num_last // 100 if scale < 1 else 1000
    grown = median(
        after / before
        for before, after in (in_a_process("memory", "growth", num_first, num_last) for _ in range(rounds))
    )
    peaks = interleaved(
        {name: partial(in_a_process, "memory", "peak", name, num_pictures) for name in ("ours", "theirs")},
        rounds,
        warm_up=False,
    )
    own, relative = median(peaks["ours"]), ratio(peaks, "ours", "theirs")
    rows = [
        Row(f"{num_last:,} steps against {num_first:,}", f"{100 * (grown - 1):+.2f} %", "<= +1 %", grown <= 1.01),
        Row("peak against the hand-written loop", f"{own:.0f} MB, {relative:.2f} x", "<= 1.15 x", relative <= 1.15),
    ]
    return Result(f"Whole processes; {num_pictures:,} pictures 1x28x28, median of {rounds} rounds.", rows)
