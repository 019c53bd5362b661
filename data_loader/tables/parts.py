"""The parts of a table: which file each is in, and how much of a file that is divided it takes."""

from __future__ import annotations

from typing import Any

import numpy

from data_loader.folds import Fold
from utils.errors import UserError

HELD_OUT = 0.1  # of a file that is divided, unless the fractions say something else


def sizes(parts: dict[str, numpy.ndarray]) -> dict[str, int]:
    return {part: int(is_member.sum()) for part, is_member in parts.items()}


def check_paths(
    name: str,
    split: str,
    path: str | None,
    train_path: str | None,
    own_path: str | None,
    preprocessing: dict[str, Any] | None,
    fold: Fold | None,
) -> None:
    """UserError where the files do not give what is asked for."""
    needs_main = preprocessing is None or own_path is None
    if (path and train_path) or (needs_main and not (path or train_path)):
        raise UserError(f"dataset {name}: give either path (one file to divide) or train_path")
    if split == "test" and not (path or own_path or fold):
        raise UserError(f"dataset {name}: give test_path for an evaluation on test data")


def amounts(
    name: str,
    path: str | None,
    valid_path: str | None,
    test_path: str | None,
    valid_fraction: float | int | None,
    test_fraction: float | int | None,
    fold: Fold | None,
) -> tuple[float | int, float | int | Fold]:
    """How much of the divided file the validation and the test part take."""
    if valid_fraction and valid_path:
        raise UserError(f"dataset {name}: valid_path and valid_fraction both give the validation part: give one")
    if test_fraction and test_path:
        raise UserError(f"dataset {name}: test_path and test_fraction both give the test part: give one")
    if test_fraction and not path:
        raise UserError(f"dataset {name}: test_fraction divides path, but there is only train_path")
    valid = 0 if valid_path else HELD_OUT if valid_fraction is None else valid_fraction
    test = 0 if test_path or not path else HELD_OUT if test_fraction is None else test_fraction
    return valid, fold or test


def told_of_test_part(is_held_out: bool, num_samples: int, num_rows: int, is_fold: bool = False) -> list[str]:
    """What to say where a divided file is evaluated. is_held_out: what is left for it is what training left."""
    shares = f"{num_samples:,} of {num_rows:,} rows are the test part"
    others = " data_loader.fold=null" if is_fold else ""
    told = [f"{shares}; to evaluate all rows of a file: dataset.args.test_path=FILE{others}"]
    if not is_held_out:
        told.insert(
            0,
            "warning: the test part is not the one that training held out: the model may have been trained on some of "
            "its rows",
        )
    return told
