"""Own tables."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy
import torch
from pydantic import Field
from torch import Tensor

from base import DATASETS
from config.schema import Says
from data_loader.csv_table import MISSING, Table, as_number, read_csv
from data_loader.in_memory import InMemoryDataset, class_targets
from data_loader.splitting import divide
from utils.errors import UserError

MOST_FOUND_CATEGORIES = 100


@DATASETS.register
class TabularCSV(InMemoryDataset):
    """Rows of CSV files with a header: inputs float32 (N, features), targets as the task needs them.

    path: one file, or `scikit-learn:diabetes` (breast_cancer, iris, wine), a table that ships with scikit-learn;
        divided by split_seed into valid_fraction, test_fraction and the rest (classes in proportion);
    or train_path with valid_path and test_path, as far as there are such files; valid_fraction then divides train_path.
    target: the column to predict; features: the columns to predict it from, null: all others.
    task: regression: float32 (N, 1); binary: float32 (N, 1) of 0 and 1, the classes in sorted order; multiclass: int64.
    categorical: the columns to one-hot encode; null: those that hold text. A category that the training part lacks
        becomes zeros; a missing one is a category of its own. Other columns are numbers; a missing one becomes the
        `impute` (mean or median) of the training part.
    standardise: shift and scale numbers to mean 0 and deviation 1 over the training part; standardise_target: the same
        for the target of a regression.
    Missing are: nothing, ?, NA, N/A, NaN, null, none. Attribute feature_names: the columns after encoding.
    """

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
        valid_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        impute: Literal["mean", "median"] = "mean",
        standardise: bool = True,
        standardise_target: bool = False,
        delimiter: Annotated[str, Field(min_length=1, max_length=1), Says("one character")] = ",",
    ):
        if (path is None) == (train_path is None):
            raise UserError("dataset TabularCSV: give either path (one file to divide) or train_path")
        if path and (valid_path or test_path):
            raise UserError("dataset TabularCSV: valid_path and test_path go with train_path, not with path")
        if split == "test" and not (path or test_path):
            raise UserError("dataset TabularCSV: give test_path for an evaluation on test data")
        train_table = read_csv(path or train_path, delimiter)
        own_path = {"train": None, "valid": valid_path, "test": test_path}[split]
        table = read_csv(own_path, delimiter) if own_path else train_table

        read_target = _TargetReader(train_table, target, task)
        train_targets = read_target(train_table)
        fractions = (valid_fraction, test_fraction) if path else (0 if valid_path else valid_fraction, 0)
        names = map(repr, zip(*train_table.columns.values(), strict=True))
        parts = divide(names, *fractions, split_seed, None if task == "regression" else train_targets.flatten())
        rows = torch.arange(len(table)) if own_path else parts[split]

        columns = [name for name in train_table.columns if name != target] if features is None else features
        if target in columns or not columns:
            wrong = f"the target '{target}' is among dataset.args.features" if columns else "no feature columns"
            raise UserError(f"dataset TabularCSV: {wrong}")
        encoder = _FeatureEncoder(train_table, columns, categorical, impute, standardise)
        encoder.fit(train_table, parts["train"])
        targets = read_target(table)
        if standardise_target and task == "regression":
            fitted = train_targets[parts["train"]]
            targets = (targets - fitted.mean()) / fitted.std(correction=0)
        self.feature_names = encoder.feature_names
        super().__init__(encoder(table)[rows], targets[rows], read_target.classes)


class _TargetReader:
    """Turns the target column of a table into a tensor: float32 (N, 1), or class numbers int64 (N,)."""

    def __init__(self, train_table: Table, name: str, task: str):
        self.name, self.task = name, task
        self.classes = None
        if task == "regression":
            return
        texts = {text for text in train_table.column(name) if text.lower() not in MISSING}
        is_numeric = all(as_number(text) is not None for text in texts)
        self.classes = sorted(texts, key=float if is_numeric else None)
        if len(texts) < 2 or (task == "binary" and len(texts) != 2):
            expected = "two classes" if task == "binary" else "at least two classes"
            raise UserError(
                f"{train_table.path}: column '{name}' holds {len(texts)} different values "
                f"({', '.join(self.classes[:5])}{', ...' if len(texts) > 5 else ''}); task {task} expects {expected}"
            )

    def __call__(self, table: Table) -> Tensor:
        if self.classes is None:
            numbers = table.numbers(self.name)
            for row, number in enumerate(numbers):
                if math.isnan(number):
                    raise table.error(row, self.name, "the target must not be missing")
            return torch.tensor(numbers, dtype=torch.float32).unsqueeze(1)
        number_of = {text: number for number, text in enumerate(self.classes)}
        for row, text in enumerate(table.column(self.name)):
            if text not in number_of:
                raise table.error(row, self.name, f"expected one of the classes {', '.join(self.classes[:20])}")
        targets = class_targets([number_of[text] for text in table.column(self.name)])
        return targets.float().unsqueeze(1) if self.task == "binary" else targets


class _FeatureEncoder:
    """Turns the feature columns of a table into float32 (N, features), with what was fitted on the training part."""

    def __init__(
        self, train_table: Table, columns: list[str], categorical: list[str] | None, impute: str, standardise: bool
    ):
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        if categorical is None:
            categorical = [name for name in columns if _holds_text(train_table, name)]
        else:
            for name in categorical:
                train_table.column(name)
        self.categorical = [name for name in columns if name in categorical]
        self.numeric = [name for name in columns if name not in categorical]
        imputer = SimpleImputer(strategy=impute)
        self.scaler = make_pipeline(imputer, StandardScaler()) if standardise else imputer
        self.one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=numpy.float32)
        self.feature_names: list[str] = []

    def fit(self, table: Table, rows: Tensor) -> None:
        if self.numeric:
            numbers = self._numbers(table)[rows]
            for name, column in zip(self.numeric, numbers.T, strict=True):
                if numpy.isnan(column).all():
                    raise UserError(f"{table.path}: column '{name}' has no values in the training part; leave it out")
            self.scaler.fit(numbers)
        self.feature_names = list(self.numeric)
        if self.categorical:
            self.one_hot.fit(self._texts(table)[rows])
            self.feature_names += list(self.one_hot.get_feature_names_out(self.categorical))

    def __call__(self, table: Table) -> Tensor:
        parts = [numpy.empty((len(table), 0))]
        if self.numeric:
            parts.append(self.scaler.transform(self._numbers(table)))
        if self.categorical:
            parts.append(self.one_hot.transform(self._texts(table)))
        return torch.from_numpy(numpy.hstack(parts).astype(numpy.float32))

    def _numbers(self, table: Table) -> numpy.ndarray:
        return numpy.array([table.numbers(name) for name in self.numeric]).T  # (N, columns)

    def _texts(self, table: Table) -> numpy.ndarray:
        columns = [table.column(name) for name in self.categorical]
        return numpy.array(
            [["missing" if text.lower() in MISSING else text for text in column] for column in columns], dtype=object
        ).T  # (N, columns)


def _holds_text(table: Table, name: str) -> bool:
    """Whether a column is categorical. UserError where its texts are too many to be categories: names, dates."""
    texts = {text for text in table.column(name) if as_number(text) is None}
    if len(texts) > MOST_FOUND_CATEGORIES:
        raise UserError(
            f"{table.path}: column '{name}' holds {len(texts)} different texts, such as '{min(texts)}': leave it "
            "out of dataset.args.features, or name it in dataset.args.categorical to one-hot encode it all the same"
        )
    return bool(texts)
