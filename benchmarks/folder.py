"""A folder of JPEG pictures with crop, flip and normalise, from the second epoch on: the loader alone."""

import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch.utils.data import DataLoader

from benchmarks.harness import Result, Row, interleaved, ratio, timed
from benchmarks.pictures import made_up
from benchmarks.template import checked


def run(rounds: int, scale: float) -> Result:
    num_pictures = int(10_000 * scale)
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), num_pictures)
        epochs = {"torchvision ImageFolder, 2 workers": torchvision_epoch(folder)}
        epochs |= {f"ours, cache: {cache}": our_epoch(folder, cache) for cache in ("ram", "disk")}
        for epoch in epochs.values():
            epoch()  # the first, with workers started and caches filled
        seconds = interleaved({name: partial(timed, epoch) for name, epoch in epochs.items()}, rounds, warm_up=False)
    reference, *own = seconds
    rows = [Row(reference, f"{num_pictures / median(seconds[reference]):,.0f} pictures/s")]
    for name in own:
        faster = ratio(seconds, reference, name)
        shown = f"{num_pictures / median(seconds[name]):,.0f} pictures/s, {faster:.1f} x"
        rows.append(Row(name, shown, ">= 5 x", faster >= 5))
    return Result(f"{num_pictures:,} JPEG pictures 32x32 in 10 folders, batch 128, median of {rounds} epochs.", rows)


def write_pictures(folder: Path, num_pictures: int) -> None:
    from torchvision.io import write_jpeg

    pictures, targets = made_up(num_pictures, (3, 32, 32))
    for number in range(10):
        (folder / f"class{number}").mkdir()
    for i, (picture, target) in enumerate(zip(pictures, targets, strict=True)):
        write_jpeg(picture, str(folder / f"class{target}" / f"{i}.jpg"))


def torchvision_epoch(folder: str):
    from torchvision import datasets, transforms

    transform = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.5,) * 3, (0.25,) * 3),
        ]
    )
    dataset = datasets.ImageFolder(folder, transform)
    loader = DataLoader(dataset, 128, shuffle=True, num_workers=2, persistent_workers=True)

    def epoch() -> None:
        for _ in loader:
            pass

    return epoch


def our_epoch(folder: str, cache: str):
    from data_loader.build import build_loader
    from experiment import build_forward_pass

    config = checked(
        {
            "dataset": {
                "type": "ImageFolder",
                "args": {"root": folder, "cache": cache, "test_fraction": 0.0},
                "batch_transforms": {
                    "train": [
                        {"type": "RandomCrop", "args": {"size": 32, "padding": 4}},
                        {"type": "RandomHorizontalFlip"},
                        {"type": "Normalize", "args": {"mean": [0.5] * 3, "std": [0.25] * 3}},
                    ]
                },
            },
            "data_loader": {"batch_size": 128, "validation_split": 0, "drop_last": False},
            "model": {"type": "SmallResNet"},
            "loss": {"type": "CrossEntropyLoss"},
            "optimizer": {"type": "SGD", "args": {"lr": 0.1}},
            "trainer": {"epochs": 1},
        }
    )
    device = torch.device("cpu")
    loader = build_loader(config.dataset, config.data_loader, "train", 0, device, training=True)
    forward_pass = build_forward_pass(config, config.loss, device, loader.dataset, {})

    def epoch() -> None:
        for batch in loader.batches():
            forward_pass.prepare(batch.data, training=True)

    return epoch
