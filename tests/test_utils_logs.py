"""metrics.csv and train.log hold what was said, once, and a full disk is said aloud; what is drawn of them."""

import contextlib
import logging
import math
import os
import warnings
from pathlib import Path

import pytest
import torch

from tests.running import full_disk
from utils.files import WriteError
from utils.logs import MetricsCsv, logging_to
from utils.plots import draw_confusion_matrix, draw_curves

pytestmark = pytest.mark.draws
logger = logging.getLogger(__name__)


def write(path: Path, epoch: int, **scores: float) -> None:
    MetricsCsv(path).write(epoch=epoch, step=epoch * 10, scores=scores, lr=0.1, seconds=1.5, samples_per_second=1 / 3)


def test_columns_in_order_and_empty_cells_for_epochs_without_an_evaluation(tmp_path):
    path = tmp_path / "metrics.csv"
    write(path, 1, loss=0.5, accuracy=0.25)
    write(path, 2, loss=1e-30, accuracy=0.1 + 0.2, val_loss=math.nan, val_accuracy=0.0)
    write(path, 3, extra=5.0, loss=4.0, accuracy=1.0)
    assert path.read_text() == (
        "epoch,step,loss,accuracy,extra,val_loss,val_accuracy,lr,seconds,samples_per_second\n"
        "1,10,0.5,0.25,,,,0.1,1.5,0.3333333333333333\n"
        "2,20,1e-30,0.30000000000000004,,nan,0.0,0.1,1.5,0.3333333333333333\n"
        "3,30,4.0,1.0,5.0,,,0.1,1.5,0.3333333333333333\n"
    )


def test_metrics_on_a_full_disk(tmp_path):
    path = tmp_path / "metrics.csv"
    write(path, 1, loss=1.0)
    before = path.read_text()
    for scores in ({"loss": 2.0}, {"loss": 2.0, "val_loss": 3.0}):  # a row, and all rows with a new column
        with full_disk(len(before)), pytest.raises(WriteError, match=f"cannot write {path}: File too large"):
            write(path, 2, **scores)
    assert path.read_text() == before and os.listdir(tmp_path) == ["metrics.csv"]


def test_train_log_and_console(tmp_path, capsys):
    path = tmp_path / "train.log"
    with logging_to(path):
        logger.info("epoch %d", 1)
        logger.warning("odd")
        logger.debug("nothing")
        warnings.warn("from a library", stacklevel=1)
    logger.info("after")
    with logging_to(path):
        logger.info("epoch %d", 2)
    lines = [line[20:] for line in path.read_text().splitlines()]
    assert [lines[0], lines[1], lines[-1]] == ["INFO    epoch 1", "WARNING odd", "INFO    epoch 2"]
    assert "from a library" in lines[2] and not {"nothing", "after"} & set(" ".join(lines).split())
    out, error = capsys.readouterr()
    assert out == "epoch 1\nepoch 2\n" and error.startswith("warning: odd\n")


def test_libraries_are_heard_only_when_they_warn_with_a_file_and_without(tmp_path, capsys):
    for path in (tmp_path / "train.log", None):
        with logging_to(path):
            for level in (logging.INFO, logging.WARNING):
                place = "/x/site-packages/library/a.py"
                logger.handle(logging.LogRecord("library", level, place, 1, f"level {level}", None, None))
        assert capsys.readouterr() == ("", "warning: level 30\n")
    assert (tmp_path / "train.log").read_text().endswith("WARNING level 30\n") and len(list(tmp_path.iterdir())) == 1


def test_what_nobody_can_act_on_is_not_shown_and_all_else_of_that_library_is(capfd):
    library = logging.getLogger("torch.utils.cpp_extension")
    library.addHandler(own := logging.StreamHandler())
    for shown in (False, True):
        with logging_to(None) if not shown else contextlib.nullcontext():
            library.warning("No CUDA runtime is found, using CUDA_HOME='%s'", "/usr/local/cuda")
            library.warning("no compiler is found")
        assert ("No CUDA runtime" in (told := capfd.readouterr().err)) is shown and "no compiler is found" in told
    library.removeHandler(own)


def test_log_on_a_full_disk_stops_the_run(capsys):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(WriteError, match="cannot write /dev/full: No space left"), logging_to("/dev/full"):
        logger.info("lost")
        pytest.fail("the run went on")


# Pictures are drawn whatever the rows: one, many, with gaps; and however many classes there are.


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
