"""An epoch of a small residual network on pictures like CIFAR-10's, cropped and flipped."""

from benchmarks import epochs
from benchmarks.harness import Result

NORMALIZE = {"type": "Normalize", "args": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}}
CROP = {"type": "RandomCrop", "args": {"size": 32, "padding": 4}}


def transforms():
    from torchvision import transforms

    last = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.25,) * 3)]
    first = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    return transforms.Compose(first + last), transforms.Compose(last)


WORK = epochs.Work(
    benchmark="epoch_cifar",
    shape=(3, 32, 32),
    model={"type": "SmallResNet", "args": {"width": 8, "blocks": [0, 0, 1]}},
    optimizer=("SGD", {"lr": 0.05, "momentum": 0.9}),
    batch_transforms=([CROP, {"type": "RandomHorizontalFlip"}, NORMALIZE], [NORMALIZE]),
    transforms=transforms,
)


def measure(contender: str, num_pictures: int) -> float:
    return epochs.measure(WORK, contender, num_pictures)


def ours(scale: float) -> dict[str, float]:
    return {"an epoch": measure("ours", int(50_000 * scale))}


def run(rounds: int, scale: float) -> Result:
    return epochs.run(WORK, int(50_000 * scale), rounds, most_over_floor=1.15, least_under_peer=1.0)
