"""metrics.csv and train.log hold what was said, once, and a full disk is said aloud."""

import logging
import math
import os
import warnings
from pathlib import Path

import pytest

from tests.running import full_disk
from utils.files import WriteError
from utils.logs import MetricsCsv, logging_to
from utils.run_folder import RunFolder

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


def test_interrupted_between_two_sets_of_columns(tmp_path):
    """A row with a new column lengthens all lines: going back must not cut at the old number of bytes."""
    path = tmp_path / "metrics.csv"
    run = RunFolder(tmp_path)
    write(path, 1, loss=1.0)
    positions = run.positions()
    write(path, 2, loss=2.0, val_loss=3.0)
    whole = path.read_text()
    run.rewind(positions)
    write(path, 2, loss=2.0, val_loss=3.0)
    assert path.read_text() == whole and whole.count("\n") == 3


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
    def said(level: int) -> None:
        record = logging.LogRecord("library", level, "/x/site-packages/library/a.py", 1, f"level {level}", None, None)
        logging.getLogger("library").handle(record)

    for path in (tmp_path / "train.log", None):
        with logging_to(path):
            said(logging.INFO)
            said(logging.WARNING)
        assert capsys.readouterr() == ("", "warning: level 30\n")
    assert (tmp_path / "train.log").read_text().endswith("WARNING level 30\n") and len(list(tmp_path.iterdir())) == 1


def test_log_on_a_full_disk_stops_the_run(capsys):
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(WriteError, match="cannot write /dev/full: No space left"), logging_to("/dev/full"):
        logger.info("lost")
        pytest.fail("the run went on")
