"""Own tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import numpy
import torch
from pydantic import Field
from torch import Tensor

from base import DATASETS
from config.schema import Says
from data_loader.folds import Fold
from data_loader.in_memory import InMemoryDataset
from data_loader.part_notes import told_of_share
from data_loader.splitting import Amount, members
from data_loader.tables.csv_table import told
from data_loader.tables.encoding import class_numbers, encode, feature_names, regression_targets, scaled_targets
from data_loader.tables.files import EXCEL, PARQUET, Table, open_table
from data_loader.tables.fit import Choices, describe_columns, fit
from data_loader.tables.notes import column_notes, copies_told
from data_loader.tables.parts import amounts, check_paths, sizes, told_of_test_part
from data_loader.tables.rows import Rows
from data_loader.tables.trained import check_choices, digest_of, read_as_trained
from utils.errors import UserError


@DATASETS.register
class TabularCSV(InMemoryDataset):
    """Rows of tables with a header: inputs float32 (N, features), targets as the task needs them.

    path: one file (CSV, .csv.gz, Excel, Parquet), or `scikit-learn:diabetes` (breast_cancer, iris, wine), a table that
        ships with scikit-learn; divided by split_seed into valid_fraction, test_fraction and the rest (by content or
        ID, classes in proportion); or train_path, of which none is for testing. valid_path, test_path: files with a
        part of their own, which then is not taken from the other.
    target: the column to predict; features: the columns to predict it from, null: all others but IDs; ignore: those to
        leave out; group: a column whose equal rows stay in one part, no feature.
    task: regression: float32 (N, 1); binary: float32 (N, 1) of 0 and 1, the classes in sorted order; multiclass: int64.
    categorical: the columns to one-hot encode; null: those that hold text. A category that the training part lacks
        becomes zeros; a missing one is a category of its own. Other columns are numbers, dates (days since 1970), times
        (share of a day), percentages or truth values (0, 1); a missing one becomes the `impute` (mean or median).
    standardise: shift and scale numbers to mean 0 and deviation 1 over the training part; standardise_target: the same
        for the target of a regression, `target_scale` is then (mean, deviation), float32.
    delimiter, decimal (mark), encoding, day_first (of 01/02/2024): null: found out. sheet: of an Excel file, null: the
        first. Missing are: nothing, ?, NA, N/A, NaN, null, none. Attribute feature_names: the columns after encoding.
    preprocessing: what was fitted on a training part; nothing is fitted then, and its file is needed no more.
    test_fold: the test part of path or train_path, in place of test_fraction.
    """

    inputs_are = "tables"
    input_endings = (".csv", ".csv.gz", ".tsv", *EXCEL, *PARQUET)

    def __init__(
        self,
        split: str,
        target: str,
        task: Literal["regression", "binary", "multiclass"],
        path: str | None = None,
        train_path: str | None = None,
        valid_path: str | None = None,
        test_path: str | None = None,
        features: list[str] | None = None,
        categorical: list[str] | None = None,
        ignore: list[str] | None = None,
        group: str | None = None,
        valid_fraction: Amount | None = None,
        test_fraction: Amount | None = None,
        split_seed: int = 0,
        impute: Literal["mean", "median"] = "mean",
        standardise: bool = True,
        standardise_target: bool = False,
        delimiter: Annotated[str, Field(min_length=1, max_length=1), Says("one character")] | None = None,
        decimal: Literal[".", ","] | None = None,
        encoding: str | None = None,
        sheet: str | None = None,
        day_first: bool | None = None,
        preprocessing: dict[str, Any] | None = None,
        test_fold: Fold | None = None,
    ):
        self._fold = test_fold
        own_path = {"train": None, "valid": valid_path, "test": test_path}[split]
        check_paths("TabularCSV", split, path, train_path, own_path, preprocessing, test_fold)
        self._amounts = amounts("TabularCSV", path, valid_path, test_path, valid_fraction, test_fraction, test_fold)
        self._split_seed = split_seed
        choices = Choices(
            *(target, task, features, categorical, ignore or [], group),
            *(impute, standardise, standardise_target, decimal, day_first),
        )

        def opened(file: str) -> Table:
            return open_table(file, delimiter, encoding, sheet)

        self.notes: list[str] = []
        self.part_sizes: dict[str, int] = {}
        self.preprocessing = preprocessing
        rows, chosen = self._read(split, path or train_path, own_path, opened, choices)
        self.feature_names, self.target_names = feature_names(self.preprocessing), [target]
        self.target_scale = _target_scale(self.preprocessing["target"])
        super().__init__(*self._tensors(rows, chosen, task), self.preprocessing["target"].get("classes"))

    @classmethod
    def for_inputs(
        cls,
        inputs: Sequence[Any],
        preprocessing: dict[str, Any],
        delimiter: str | None = None,
        decimal: Literal[".", ","] | None = None,
        encoding: str | None = None,
        sheet: str | None = None,
        day_first: bool | None = None,
    ) -> InMemoryDataset:
        """The rows of files, or rows themselves, without targets; see TableInputs."""
        from data_loader.tables.inputs import TableInputs

        rows = TableInputs(inputs, preprocessing, delimiter, decimal, encoding, sheet, day_first)
        rows.target_scale = _target_scale(preprocessing["target"])
        return rows

    @property
    def names(self) -> list[str]:
        """What each row is known by: its ID, or a number that follows from what is in it."""
        return [f"{key:016x}" for key in self._keys.tolist()] if self._ids is None else self._ids.of(self._chosen)

    @property
    def content_keys(self) -> numpy.ndarray:
        """A number for each row that follows from what is in it, uint64 (N,)."""
        return self._keys

    @property
    def groups(self) -> list[str] | None:
        """The text of each row in the column `group`; None without one."""
        return None if self._groups is None else self._groups.of(self._chosen)

    @property
    def category_sizes(self) -> list[int]:
        """How many categories each column of such has."""
        columns = self.preprocessing["columns"]
        return [len(column["categories"]) for column in columns if column["kind"] == "category"]

    def name_of(self, index: int) -> str:
        """The ID of a row, else its file, wherever that lies, and line."""
        row = int(self._chosen[index])
        return f"{self._file}:{self._lines[row]}" if self._ids is None else self._ids.one_of(row)

    def _read(
        self, split: str, main: str | None, own: str | None, opened: Callable[[str], Table], choices: Choices
    ) -> tuple[Rows, numpy.ndarray]:
        """The rows of the file that a part is in, and which of them are the part, bool; fits what is not fitted yet.

        main: the file to fit on and to divide; own: the one that is the part.
        """
        is_fitted = self.preprocessing is not None
        parts: dict[str, numpy.ndarray] = {}
        if not is_fitted:
            rows, parts = self._fit(opened(main), choices)
            self.part_sizes = sizes(parts)
        else:
            check_choices(self.preprocessing, choices)
        if own or is_fitted:
            table = opened(own or main)
            rows, notes = read_as_trained(table, self.preprocessing, choices.decimal, choices.day_first, not own)
            self.notes += notes
            parts = {split: numpy.ones(len(rows), bool)} if own else self._divide(rows, self.preprocessing)
        self.part_sizes |= sizes(parts)
        if split == "test" and not own and is_fitted:
            is_same = digest_of(rows, self.preprocessing, parts[split]) == self.preprocessing["held_out"]
            self.notes += told_of_test_part(is_same, self.part_sizes[split], len(rows), self._fold is not None)
        return rows, parts[split]

    def _fit(self, table: Table, choices: Choices) -> tuple[Rows, dict[str, numpy.ndarray]]:
        if choices.standardise_target and choices.task != "regression":
            raise UserError("dataset.args.standardise_target: found true, but classes are not numbers; leave it out")
        wide: set[str] = set()
        while True:
            self.preprocessing, rows = describe_columns(table, choices, wide)
            copies = copies_told(rows, self.preprocessing, self._fold is not None)
            parts = self._divide(rows, self.preprocessing)
            if not parts["train"].any():
                raise UserError("dataset TabularCSV: valid_fraction and test_fraction leave nothing to train on")
            more, notes = fit(rows, self.preprocessing, parts["train"], choices)
            if not more:
                break
            wide |= more
            del rows  # before they are read again
        notes += told_of_share(sizes(parts), self._amounts[0])
        self.notes += [*table.notes, *column_notes(self.preprocessing, choices), *copies, *notes]
        self.preprocessing["held_out"] = digest_of(rows, self.preprocessing, parts["test"])
        return rows, parts

    def _divide(self, rows: Rows, preprocessing: dict[str, Any]) -> dict[str, numpy.ndarray]:
        """Which rows are in each part, bool."""
        target = preprocessing["target"]
        targets = class_numbers(rows, target, []) if target["kind"] == "class" else regression_targets(rows, target, [])
        ids, groups = (rows.texts.get(preprocessing[each]) for each in ("id", "group"))
        names = rows.keys if ids is None or groups is not None else ids.of(slice(None))
        groups = groups and groups.of(slice(None))
        return members(names, *self._amounts, self._split_seed, torch.from_numpy(targets), groups)

    def _tensors(self, rows: Rows, chosen: numpy.ndarray, task: str) -> tuple[Tensor, Tensor]:
        """Inputs and targets of some rows. UserError with every cell that is wrong."""
        mistakes: list[str] = []
        if task == "regression":
            targets = scaled_targets(rows, self.preprocessing["target"], chosen, mistakes)
        else:
            targets = class_numbers(rows, self.preprocessing["target"], mistakes)[chosen]
            targets = targets.astype(numpy.float32)[:, None] if task == "binary" else targets
        self._ids, self._groups = (rows.texts.get(self.preprocessing[each]) for each in ("id", "group"))
        if self._ids is not None and self._ids.has_missing:
            self._ids = None
        inputs, unknown = encode(rows, self.preprocessing, chosen, mistakes)
        self._chosen = chosen.nonzero()[0].astype(numpy.int32)
        self._file, self._lines = os.path.basename(rows.table.path), rows.table.lines
        self._keys = rows.keys[chosen]
        if mistakes:
            raise UserError(told(mistakes))
        self.notes += [
            f"column '{column}': {count:,} cells hold categories that the training part lacks: zeros"
            for column, count in unknown.items()
        ]
        return torch.from_numpy(inputs), torch.from_numpy(targets)


def _target_scale(target: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """Mean and deviation by which targets were scaled, float32; None where they were not."""
    scale = target.get("mean", 0.0), target.get("std", 1.0)
    return None if scale == (0.0, 1.0) else (torch.tensor(scale[0]), torch.tensor(scale[1]))
