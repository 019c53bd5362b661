"""metrics.csv and train.log hold what was said, once, and a full disk is said aloud; what is drawn of them."""

import contextlib
import logging
import math
import os
import warnings
from pathlib import Path

import pytest

from tests.running import full_disk
from utils.files import WriteError
from utils.logs import MetricsCsv, logging_to
from utils.plots import Best, draw_curves

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


# Curves are drawn whatever the rows: one, many, with gaps.


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


def drawn(tmp_path, monkeypatch, rates, best=None):
    """The figure of curves of a run with these learning rates, an epoch each."""
    saved = []
    keep = lambda figure, file, **options: (saved.append(figure), file.write(b"a picture"))  # noqa: E731
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", keep)
    for epoch, lr in enumerate(rates, start=1):
        scores = {"loss": 1 / epoch, "val_loss": 2 / epoch}
        record = {"epoch": epoch, "step": epoch * 10, "scores": scores, "lr": lr}
        MetricsCsv(tmp_path / "metrics.csv").write(**record, seconds=1.5, samples_per_second=1 / 3)
    draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png", "digits/20261129-175632", best)
    return saved[0]


ONE_CYCLE = [5e-3 * (1 + math.cos(math.pi * i / 29)) + 4e-8 for i in range(30)]


@pytest.mark.parametrize(
    ("rates", "scale"),
    [
        (ONE_CYCLE, "linear"),
        ([*[0.1] * 9, 1e-7], "linear"),
        ([0.1, 1e-7], "linear"),
        ([1e-7, *[0.1] * 9], "linear"),
        ([0.1] * 5 + [0.01] * 5 + [0.001] * 5, "log"),
        ([0.9**i for i in range(60)], "log"),
        ([0.1, 0.01, 0.001, 0.0], "linear"),
        ([0.1], "linear"),
    ],
)
def test_learning_rates_are_on_a_logarithmic_axis_where_they_fall_for_a_while(tmp_path, monkeypatch, rates, scale):
    assert drawn(tmp_path, monkeypatch, rates).axes[-1].get_yscale() == scale


def test_curves_begin_at_the_first_epoch_and_mark_the_best(tmp_path, monkeypatch):
    figure = drawn(tmp_path, monkeypatch, [0.1] * 30, Best("val_loss", 0.08, 255))
    for axes in figure.axes:
        assert axes.get_xticks().tolist() == [1, 5, 10, 15, 20, 25, 30] and 0 < axes.get_xlim()[0] < 1
        assert axes.lines[-1].get_xdata()[0] == 25.5
    (text,) = figure.texts
    assert text.get_text() == "digits/20261129-175632   dashed: the best val_loss, 0.08, at epoch 25.5"
    assert [line.get_label() for line in figure.axes[0].lines[:2]] == ["train", "valid"]
