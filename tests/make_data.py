"""Write small data sets as real files, in the formats that people have them in."""

import csv
import hashlib
import pickle
from collections.abc import Iterable
from pathlib import Path

import numpy
import torch


def write_idx(path: Path, values: numpy.ndarray) -> None:
    """One IDX file, the format of MNIST: two zero bytes, 8 for uint8, number of axes, lengths, data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, values.ndim]) + b"".join(length.to_bytes(4, "big") for length in values.shape)
    path.write_bytes(header + values.astype(numpy.uint8).tobytes())


def write_mnist(root: Path, name: str = "MNIST", num_train: int = 200, num_test: int = 50) -> None:
    """A set laid out as torchvision's MNIST, FashionMNIST or KMNIST: 28x28 pictures whose label can be learned."""
    generator = numpy.random.default_rng(0)
    for prefix, size in (("train", num_train), ("t10k", num_test)):
        labels = numpy.arange(size) % 10
        pictures = generator.integers(0, 60, (size, 28, 28))
        pictures[numpy.arange(size), labels * 2 + 4] = 255  # a bright row at a height that tells the class
        write_idx(Path(root) / name / "raw" / f"{prefix}-images-idx3-ubyte", pictures)
        write_idx(Path(root) / name / "raw" / f"{prefix}-labels-idx1-ubyte", labels)


def write_cifar(root: Path, monkeypatch, name: str = "CIFAR10", samples_a_file: int = 20) -> None:
    """A set laid out as torchvision's CIFAR10 or CIFAR100, whose checksums torchvision is told to expect."""
    from torchvision import datasets

    component = getattr(datasets, name)
    generator = numpy.random.default_rng(0)
    num_classes, label_key = (10, "labels") if name == "CIFAR10" else (100, "fine_labels")
    folder = Path(root) / component.base_folder
    folder.mkdir(parents=True, exist_ok=True)

    def write(file_name: str, content: dict) -> str:
        data = pickle.dumps(content)
        (folder / file_name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    for list_name in ("train_list", "test_list"):
        checksums = []
        for file_name, _ in getattr(component, list_name):
            labels = (numpy.arange(samples_a_file) % num_classes).tolist()
            pictures = generator.integers(0, 60, (samples_a_file, 3, 1024), dtype=numpy.uint8)
            pictures[:, :, :32] = (numpy.array(labels) * 2 + 50)[:, None, None]
            content = {"data": pictures.reshape(samples_a_file, 3072), label_key: labels}
            checksums.append([file_name, write(file_name, content)])
        monkeypatch.setattr(component, list_name, checksums)
    meta = component.meta
    names = [f"class{number}" for number in range(num_classes)]
    monkeypatch.setattr(component, "meta", {**meta, "md5": write(meta["filename"], {meta["key"]: names})})


def write_pictures(folder: Path, classes=("cat", "dog", "owl"), num_each=10, size=(32, 32), ending=".jpg") -> None:
    """Class folders of JPEG or PNG files (RGB; size: height, width): noise around a colour that tells the class."""
    from torchvision.io import write_jpeg, write_png

    generator = torch.Generator().manual_seed(0)
    for number, name in enumerate(classes):
        (Path(folder) / name).mkdir(parents=True, exist_ok=True)
        for index in range(num_each):
            picture = torch.randint(0, 80, (3, *size), generator=generator, dtype=torch.uint8)
            picture[number % 3] += 120
            write = write_png if ending == ".png" else write_jpeg
            write(picture, str(Path(folder) / name / f"{index:04d}{ending}"))


def write_csv(path: Path, columns: dict[str, Iterable]) -> None:
    """A CSV file with a header from columns of equal length."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
