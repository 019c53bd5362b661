"""Which file holds which part of a table, and how much of a divided one each part takes."""

from __future__ import annotations

from typing import Any

from utils.errors import UserError

HELD_OUT = 0.1  # of a file that is divided, unless the fractions say something else


def check_paths(
    split: str, path: str | None, train_path: str | None, own_path: str | None, preprocessing: dict[str, Any] | None
) -> None:
    """UserError where the files do not give what is asked for."""
    needs_main = preprocessing is None or own_path is None
    if (path and train_path) or (needs_main and not (path or train_path)):
        raise UserError("dataset TabularCSV: give either path (one file to divide) or train_path")
    if split == "test" and not (path or own_path):
        raise UserError("dataset TabularCSV: give test_path for an evaluation on test data")


def amounts_of(
    path: str | None,
    valid_path: str | None,
    test_path: str | None,
    valid_fraction: float | int | None,
    test_fraction: float | int | None,
) -> tuple[float | int, float | int]:
    """How much of the divided file the validation and the test part take."""
    if valid_fraction and valid_path:
        raise UserError("dataset TabularCSV: valid_path and valid_fraction both give the validation part: give one")
    if test_fraction and test_path:
        raise UserError("dataset TabularCSV: test_path and test_fraction both give the test part: give one")
    if test_fraction and not path:
        raise UserError("dataset TabularCSV: test_fraction divides path, but there is only train_path")
    valid = 0 if valid_path else HELD_OUT if valid_fraction is None else valid_fraction
    test = 0 if test_path or not path else HELD_OUT if test_fraction is None else test_fraction
    return valid, test
