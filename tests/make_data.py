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


def write_reviews(path: Path, size: int = 400, header: str = "") -> None:
    """Lines `class TAB words`: of 3 to 20 words, most speak for the class, some for none, and a few are rare."""
    generator = numpy.random.default_rng(0)
    lines = []
    for number in range(size):
        opinion = ("bad", "fair", "good")[generator.integers(3)]
        words = [f"{opinion}-{generator.integers(8)}" for _ in range(generator.integers(2, 8))]
        words += [f"word-{generator.integers(30)}" for _ in range(generator.integers(1, 12))]
        lines.append(f"{opinion}\t{' '.join(generator.permutation([*words, f'rare-{number}']))}")
    Path(path).write_text(header + "\n".join(lines) + "\n")


def write_discs(root: Path, num_train: int = 90, num_test: int = 20, size: int = 16) -> None:
    """Pictures of a bright disc on a dark ground, and beside each its mask, as PNG files in train/ and test/."""
    from torchvision.io import write_png

    generator = torch.Generator().manual_seed(0)
    axis = torch.arange(size)
    for split, num_pictures in (("train", num_train), ("test", num_test)):
        (Path(root) / split).mkdir(parents=True, exist_ok=True)
        for number in range(num_pictures):
            row, column, radius = torch.rand(3, generator=generator) * size / 2
            is_disc = (axis[:, None] - row) ** 2 + (axis - column) ** 2 < (2 + radius) ** 2
            noise = torch.randint(0, 80, (3, size, size), generator=generator)
            write_png((noise + 150 * is_disc).byte(), str(Path(root) / split / f"{number:03d}.png"))
            write_png(is_disc.byte()[None], str(Path(root) / split / f"{number:03d}.mask.png"))


def write_plants(path: Path, size: int = 400) -> None:
    """A table of numbers of very different size: five to learn from, three to learn, linear in them but for noise."""
    generator = numpy.random.default_rng(0)
    inputs = generator.normal([10, 0, 500, 3, -7], [2, 1, 100, 0.1, 5], (size, 5))
    weights = numpy.array([[3, -2, 0.01, 5, 1], [200, 100, 3, -900, 40], [0.1, 0.2, 0.001, 2, -0.01]])
    outputs = inputs @ weights.T
    outputs += 0.1 * outputs.std(0) * generator.normal(size=outputs.shape)
    names = ["water", "slope", "height", "lime", "cold", "leaves", "weight", "sugar"]
    write_csv(path, dict(zip(names, numpy.hstack([inputs, outputs]).T, strict=True)))


def write_text(path: Path, num_characters: int) -> None:
    """Words of a few letters, drawn by lot."""
    drawn = numpy.random.default_rng(0)
    words = ["".join(drawn.choice([*"aeinorst"], size)) for size in drawn.integers(2, 6, num_characters)]
    path.write_text(" ".join(words)[:num_characters])


def write_spoken_digits(root: Path, num_each: int) -> None:
    """DIGIT_SPEAKER_NUMBER.wav as in the Free Spoken Digit Dataset: a tone whose pitch tells the digit."""
    import soundfile

    root.mkdir(parents=True)
    times = numpy.arange(2400) / 8000
    for digit in range(10):
        for number in range(num_each):
            tone = 0.3 * numpy.sin(2 * numpy.pi * (300 + 100 * digit + 5 * number) * times)
            soundfile.write(root / f"{digit}_anna_{number}.wav", tone, 8000)
