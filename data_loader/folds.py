"""Folds for cross-validation: scikit-learn's, to the sample, for the same seed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy
from torch import Tensor

from base import DATASETS
from config.schema import DatasetConfig, FoldConfig
from utils.blocks import num_copies
from utils.errors import UserError

logger = logging.getLogger(__name__)


class Fold(NamedTuple):
    """The samples that are held out as the test part: fold `index` of `of`. stratify: null where targets decide.

    Unlike the other parts, folds go by the place of a sample in its list, as scikit-learn's do.
    """

    index: int
    of: int
    stratify: bool | None
    seed: int

    @classmethod
    def from_config(cls, config: FoldConfig, seed: int) -> Fold:
        return cls(config.index, config.of, None if config.stratify == "auto" else config.stratify, seed)

    def members(self, num_samples: int, targets: Tensor | None, groups: Sequence[str] | None) -> numpy.ndarray:
        """Which samples are in the fold, bool (N,). UserError where they cannot be divided so.

        targets: class numbers (N,), or other numbers, which are no classes; groups: the group of each sample.
        """
        classes = _classes_of(targets)
        if self.stratify and classes is None:
            raise UserError("data_loader.fold.stratify: found true, but the targets are no classes; expected false")
        labels = None if self.stratify is False else classes
        num_units, units = (num_samples, "samples") if groups is None else (len({*groups}), "groups")
        if num_units < self.of:
            raise UserError(f"data_loader.fold.of: found {self.of}, but the data have {num_units} {units}")
        rarest = None if labels is None else int(numpy.unique(labels, return_counts=True)[1].min())
        if rarest is not None and rarest < self.of:
            logger.warning("data_loader.fold: a class has %d samples: not each of %d folds has one", rarest, self.of)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # which says the same
            try:
                folds = list(self._splitter(labels, groups).split(numpy.zeros(num_samples), labels, groups))
            except ValueError as error:
                raise UserError(f"data_loader.fold: {error}") from error
        if not all(len(members) for _, members in folds):
            remedy = "another number of folds, another seed, or data_loader.fold.stratify=false"
            raise UserError(f"data_loader.fold: {num_units} groups, divided so, leave a fold empty; expected {remedy}")
        is_member = numpy.zeros(num_samples, bool)
        is_member[folds[self.index][1]] = True
        return is_member

    def of_dataset(self, dataset: Any, keys: numpy.ndarray, targets: Tensor | None) -> numpy.ndarray:
        """Which samples of a dataset are in the fold. keys: of what they are known by, uint64 (N,).

        UserError for a dataset that has fitted something on all of them, the fold's too.
        """
        for attribute in ("preprocessing", "target_scale"):
            if getattr(dataset, attribute, None) is not None:
                _refuse_fitted(type(dataset).__name__)
        groups = getattr(dataset, "groups", None)
        if groups is None and (copies := num_copies(keys)):
            _warn_of_copies(copies, len(keys))
        return self.members(len(keys), targets, groups)

    def _splitter(self, labels: numpy.ndarray | None, groups: Sequence[str] | None):
        from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

        if groups is None:
            kind = KFold if labels is None else StratifiedKFold
        else:
            kind = GroupKFold if labels is None else StratifiedGroupKFold
        return kind(n_splits=self.of, shuffle=True, random_state=self.seed)


def check_fold(config: DatasetConfig, fold: FoldConfig, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the dataset that go with a fold. UserError where it cannot have one. parameters: its own."""
    if (reason := getattr(DATASETS.find(config.type), "has_no_folds", None)) is not None:
        raise UserError(f"data_loader.fold: {config.type} has no folds: {reason}")
    if "preprocessing" in parameters and "test_fold" not in parameters:
        _refuse_fitted(config.type)
    if fold.group is None:
        return {}
    if "group" not in parameters:
        told = f"found '{fold.group}', but dataset {config.type} has no argument `group`"
        raise UserError(f"data_loader.fold.group: {told}; leave it out: folds go by its attribute `groups`")
    return {"group": fold.group}


def check_fold_is_new(changes: Sequence[str]) -> None:
    """UserError where a fold may hold samples that the model was trained on. changes: of the training part since."""
    if changes:
        raise UserError(
            f"data_loader.fold: the training part is not as it was in training: {'; '.join(changes)}. A fold goes by "
            "the places of the samples: bring back the data and the fold, or set data_loader.fold=null for other data"
        )


def _refuse_fitted(name: str) -> NoReturn:
    raise UserError(
        f"data_loader.fold: {name} fits something on its training part, and would fit it on the samples of the fold "
        "too; with an argument `test_fold` it gets the fold, and can leave them out (docs/sweeps.md)"
    )


def _warn_of_copies(copies: int, num_samples: int) -> None:
    told = "data_loader.fold: %s of %s samples have the name or content of others, and folds may part them: %s"
    logger.warning(told, f"{copies:,}", f"{num_samples:,}", "data_loader.fold.group keeps samples together")


def _classes_of(targets: Tensor | None) -> numpy.ndarray | None:
    """The class of each sample; None where the targets are other numbers than 0 and 1."""
    if targets is None:
        return None
    numbers = targets.numpy()
    is_binary = numbers.dtype.kind == "f" and numpy.isin(numbers, (0.0, 1.0)).all()
    return numbers.astype(numpy.int64) if is_binary or numbers.dtype.kind != "f" else None
