"""An epoch of LeNet on pictures like MNIST's."""

from benchmarks.harness import Result
from benchmarks.pictures import epoch

NORMALIZE = {"type": "Normalize", "args": {"mean": [0.5], "std": [0.25]}}


def run(rounds: int, scale: float) -> Result:
    from torchvision import transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.25,))])
    config = {
        "dataset": {"batch_transforms": {"train": [NORMALIZE], "eval": [NORMALIZE]}},
        "data_loader": {"batch_size": 128},
        "model": {"type": "LeNet", "args": {"padding": 0}},  # the arithmetic of the official example, more or less
        "optimizer": {"type": "Adam", "args": {"lr": 1e-3}},
    }
    return epoch(rounds, int(54_000 * scale), (1, 28, 28), config, (transform, transform), 1.10, 2.5)
