"""An epoch of LeNet on pictures like MNIST's."""

from benchmarks import epochs
from benchmarks.harness import Result

NORMALIZE = {"type": "Normalize", "args": {"mean": [0.5], "std": [0.25]}}


def transforms():
    from torchvision import transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.25,))])
    return transform, transform


WORK = epochs.Work(
    benchmark="epoch_mnist",
    shape=(1, 28, 28),
    model={"type": "LeNet", "args": {"padding": 0}},  # that of the ancestor's example, and of PyTorch's first one
    optimizer=("Adam", {"lr": 1e-3}),
    batch_transforms=([NORMALIZE], [NORMALIZE]),
    transforms=transforms,
)


def measure(contender: str, num_pictures: int) -> float:
    return epochs.measure(WORK, contender, num_pictures)


def ours(scale: float) -> dict[str, float]:
    return {"an epoch": measure("ours", int(60_000 * scale))}


def run(rounds: int, scale: float) -> Result:
    return epochs.run(WORK, int(60_000 * scale), rounds, most_over_floor=1.10, least_under_peer=2.5)
