"""An epoch of a small residual network on pictures like CIFAR-10's, cropped and flipped."""

from benchmarks.harness import Result
from benchmarks.pictures import epoch

NORMALIZE = {"type": "Normalize", "args": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}


def run(rounds: int, scale: float) -> Result:
    from torchvision import transforms

    last = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.25,) * 3)]
    first = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    crop = {"type": "RandomCrop", "args": {"size": 32, "padding": 4}}
    config = {
        "dataset": {
            "batch_transforms": {"train": [crop, {"type": "RandomHorizontalFlip"}, NORMALIZE], "eval": [NORMALIZE]}
        },
        "data_loader": {"batch_size": 128},
        "model": {"type": "SmallResNet", "args": {"width": 8, "blocks": [0, 0, 1]}},
        "optimizer": {"type": "SGD", "args": {"lr": 0.05, "momentum": 0.9}},
    }
    transform = transforms.Compose(first + last), transforms.Compose(last)
    return epoch(rounds, int(45_000 * scale), (3, 32, 32), config, transform, 1.15, 1.0)
