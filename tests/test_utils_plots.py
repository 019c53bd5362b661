"""Pictures are drawn whatever the rows: one, many, with gaps; and however many classes there are."""

import os
from pathlib import Path

import pytest
import torch

from tests.test_utils_logs import write
from utils.plots import draw_confusion_matrix, draw_curves


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, in pixels."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


@pytest.mark.parametrize("num_rows", [1, 2, 30])
@pytest.mark.parametrize("factor", [1.0, float("nan"), float("inf")])
def test_curves(tmp_path, recwarn, num_rows, factor):
    for epoch in range(1, num_rows + 1):
        scores = {"val_loss": 2 / epoch, "val_accuracy": 0.5} if epoch % 2 and factor == 1 else {}
        write(tmp_path / "metrics.csv", epoch, loss=factor / epoch, accuracy=factor, **scores)
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    width, height = size_of(tmp_path / "curves.png")
    assert width > 1000 and height > 300
    assert sorted(os.listdir(tmp_path)) == ["curves.png", "metrics.csv"] and not recwarn.list


def test_no_curves_without_rows(tmp_path):
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    (tmp_path / "metrics.csv").write_text("epoch,step,loss,lr,seconds,samples_per_second\n")
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
    assert os.listdir(tmp_path) == ["metrics.csv"]


@pytest.mark.parametrize("num_classes", [1, 2, 10, 100])
def test_confusion_matrix(tmp_path, recwarn, num_classes):
    counts = torch.randint(0, 9, (num_classes, num_classes), generator=torch.Generator().manual_seed(0))
    counts[0] = 0  # a class without samples
    names = [f"class {i} with a long name $x_" if i % 3 else str(i) for i in range(num_classes)]
    draw_confusion_matrix(counts, names, tmp_path / "matrix.png")
    width, height = size_of(tmp_path / "matrix.png")
    assert 500 <= height <= 2000 and 500 <= width <= 2200 and not recwarn.list
