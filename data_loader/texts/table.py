"""Own texts in tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy
import torch
from pydantic import Field

from base import DATASETS, Count
from config.schema import Says
from data_loader.folds import Fold
from data_loader.part_notes import copies_of_training, told_of_share
from data_loader.splitting import Amount, members
from data_loader.tables.cells import names_of_classes
from data_loader.tables.csv_table import told
from data_loader.tables.encoding import class_numbers
from data_loader.tables.files import EXCEL, PARQUET, open_table
from data_loader.tables.parts import amounts, check_paths, sizes, told_of_test_part
from data_loader.tables.trained import digest_of_keys
from data_loader.texts.encoded import EncodedTexts, why_no_text
from data_loader.texts.rows import TextRows, number_targets, read_texts
from data_loader.texts.vocabulary import TokenChoices, Tokens, check_choices, fit_vocabulary
from data_loader.texts.word_vectors import vectors_of
from utils.blocks import num_copies
from utils.errors import UserError

MOST_GRADES = 20  # as many whole numbers may be the names of classes, such as stars


@DATASETS.register
class TextCSV(EncodedTexts):
    """Texts in a column of a table with a header: inputs int64 (N, L), padded with 0; a class or a number each.

    path: one file (CSV, .csv.gz, TSV, Excel, Parquet), divided by split_seed into valid_fraction, test_fraction and the
        rest (equal texts stay together, whatever their case; classes in proportion); or train_path, of which none is
        for testing. valid_path, test_path: files with a part of their own, which then is not taken from the other.
    text, target: the columns; group: one whose equal rows stay in one part. Others are not looked at.
    task: classification: int64 (N,), the classes in sorted order; regression: float32 (N, 1). standardise_target: shift
        and scale numbers to mean 0 and deviation 1 over the training part; results are in their own unit.
    tokens: words (letters, digits and _, also with apostrophes between; anything else but blanks is one by itself),
        characters, or bytes of UTF-8. lower: in small letters. Those that are min_count times (null: 2) in the training
        part are the vocabulary, at most vocab_size of them, the commonest; all others are the token 1, unknown.
    max_length: what a text has beyond so many tokens is cut off.
    vectors: a text file of word vectors, as of GloVe or word2vec, that `embedding` of a new run's model starts from.
    delimiter, encoding: null: found out. sheet: of an Excel file, null: the first.
    preprocessing: what was fitted on a training part; nothing is fitted then, and its file is needed no more.
    test_fold: the test part of path or train_path, in place of test_fraction.
    """

    inputs_are = "texts"
    input_endings = (".csv", ".csv.gz", ".tsv", *EXCEL, *PARQUET)

    def __init__(
        self,
        split: str,
        path: str | None = None,
        train_path: str | None = None,
        valid_path: str | None = None,
        test_path: str | None = None,
        text: str = "text",
        target: str = "target",
        group: str | None = None,
        task: Literal["classification", "regression"] = "classification",
        standardise_target: bool = False,
        valid_fraction: Amount | None = None,
        test_fraction: Amount | None = None,
        split_seed: int = 0,
        tokens: Tokens = "words",
        lower: bool = True,
        vocab_size: Count | None = None,
        min_count: Count | None = None,
        max_length: Count = 256,
        vectors: str | None = None,
        delimiter: Annotated[str, Field(min_length=1, max_length=1), Says("one character")] | None = None,
        encoding: str | None = None,
        sheet: str | None = None,
        preprocessing: dict[str, Any] | None = None,
        test_fold: Fold | None = None,
    ):
        self._fold = test_fold
        own_path = {"train": None, "valid": valid_path, "test": test_path}[split]
        check_paths("TextCSV", split, path, train_path, own_path, preprocessing, test_fold)
        if standardise_target and task == "classification":
            raise UserError("dataset.args.standardise_target: found true, but classes are not numbers; leave it out")
        self._amounts = amounts("TextCSV", path, valid_path, test_path, valid_fraction, test_fraction, test_fold)
        self._split_seed = split_seed
        columns = {"text": text, "target": target, "task": task, "standardise_target": standardise_target}
        columns["vectors"] = vectors

        def opened(file: str, needs_group: bool) -> TextRows:
            table = open_table(file, delimiter, encoding, sheet)
            return read_texts(table, text, target, group if needs_group else None)

        self.preprocessing = preprocessing
        self.part_sizes: dict[str, int] = {}
        choices = TokenChoices(tokens, lower, vocab_size, min_count, max_length)
        rows, chosen, notes = self._read(split, path or train_path, own_path, opened, choices, columns)
        targets = torch.from_numpy(self._targets(rows)[chosen])
        self.target_scale = None
        if task == "regression":
            mean, deviation = self.preprocessing["scale"]
            targets = ((targets - mean) / deviation).float()[:, None]
            self.target_scale = (torch.tensor(mean), torch.tensor(deviation)) if standardise_target else None
        self._file, self._lines = os.path.basename(rows.table.path), rows.table.lines
        self._chosen = chosen.nonzero()[0].tolist()
        texts = [rows.of_rows[row] for row in self._chosen]
        super().__init__(texts, self.preprocessing, targets, self.preprocessing["classes"], f"{split} part")
        self.notes += rows.table.notes + notes + _told_of_numbers(self.preprocessing)
        groups = rows.texts.get(group)
        self.groups = groups and groups.of(chosen)
        if vectors is not None and split == "train" and preprocessing is None:
            self.start_from(*vectors_of(vectors, self.preprocessing["vocabulary"]))

    @classmethod
    def for_inputs(
        cls,
        inputs: Sequence[Any],
        preprocessing: dict[str, Any],
        delimiter: str | None = None,
        encoding: str | None = None,
        sheet: str | None = None,
    ) -> EncodedTexts:
        """Texts, and the rows of tables (as Path), without targets. UserError for a table without the column."""
        texts, names, unreadable = [], [], {}
        column = preprocessing["choices"]["text"]
        for each in inputs:
            if not isinstance(each, Path):
                if (reason := why_no_text(each)) is not None:
                    unreadable[len(texts)] = reason
                texts.append("" if reason else each.strip())
                names.append(str(each))
                continue
            rows = read_texts(open_table(str(each), delimiter, encoding, sheet, alone=[column]), column)
            texts += rows.of_rows
            names += [f"{each}:{line}" for line in rows.table.lines]
        dataset = EncodedTexts(texts, preprocessing, called=names)
        dataset.unreadable = unreadable
        return dataset

    @property
    def names(self) -> list[str]:
        """What each text is known by: a number that follows from it."""
        return [f"{key:016x}" for key in self.content_keys.tolist()]

    def name_of(self, index: int) -> str:
        """The file of a text, wherever that lies, its line, and how it begins."""
        return f"{self._file}:{self._lines[self._chosen[index]]}: {super().name_of(index)}"

    def _read(
        self,
        split: str,
        main: str | None,
        own: str | None,
        opened: Callable[[str, bool], TextRows],
        choices: TokenChoices,
        columns: dict[str, Any],
    ) -> tuple[TextRows, numpy.ndarray, list[str]]:
        """The rows of the file that a part is in, which of them are the part, bool, and what to say of them.

        Fits what is not fitted yet. main: the file to fit on and to divide; own: the one that is the part.
        """
        is_fitted, notes = self.preprocessing is not None, []
        if is_fitted:
            check_choices(self.preprocessing, choices._asdict() | columns)
        if not is_fitted or own is None:
            rows = opened(main, True)
            if not is_fitted:
                self.preprocessing = {"choices": columns, "classes": _classes(rows, columns)}
            parts = self._divide(rows)
            self.part_sizes = sizes(parts)
            notes += told_of_share(self.part_sizes, self._amounts[0])
            notes += _copies_told(rows, parts, may_be_parted=len(rows.texts) > 1 or self._fold is not None)
        if not is_fitted:
            self._fit(rows, parts, choices)
        if own is not None:
            rows = opened(own, False)
            parts = {split: numpy.ones(len(rows), bool)}
            self.part_sizes |= sizes(parts)
        elif is_fitted and split == "test":
            is_same = digest_of_keys(rows.keys[parts[split]]) == self.preprocessing["held_out"]
            notes += told_of_test_part(is_same, self.part_sizes[split], len(rows), self._fold is not None)
        return rows, parts[split], notes

    def _fit(self, rows: TextRows, parts: dict[str, numpy.ndarray], choices: TokenChoices) -> None:
        """Complete `preprocessing` by what the training rows hold."""
        train = parts["train"].nonzero()[0]
        if not len(train):
            raise UserError("dataset TextCSV: valid_fraction and test_fraction leave nothing to train on")
        columns = self.preprocessing["choices"]
        self.preprocessing |= fit_vocabulary([rows.of_rows[row] for row in train.tolist()], choices)
        self.preprocessing["choices"] |= columns
        self.preprocessing["held_out"] = digest_of_keys(rows.keys[parts["test"]])
        self.preprocessing["scale"] = [0.0, 1.0]
        if columns["standardise_target"]:
            values = self._targets(rows)[train]
            self.preprocessing["scale"] = [float(values.mean()), float(values.std()) or 1.0]

    def _divide(self, rows: TextRows) -> dict[str, numpy.ndarray]:
        """Which rows are in each part, bool."""
        _, *columns = rows.texts.values()
        groups = columns[0].of(slice(None)) if columns else None
        return members(rows.keys, *self._amounts, self._split_seed, torch.from_numpy(self._targets(rows)), groups)

    def _targets(self, rows: TextRows) -> numpy.ndarray:
        """The class number, int64, or the number, float64, of each row. UserError with every cell that is wrong."""
        mistakes: list[str] = []
        name, classes = self.preprocessing["choices"]["target"], self.preprocessing["classes"]
        if classes is None:
            targets = number_targets(rows, name, mistakes)
        else:
            targets = class_numbers(rows, {"name": name, "classes": classes}, mistakes)
        if mistakes:
            raise UserError(told(mistakes))
        return targets


def _classes(rows: TextRows, columns: dict[str, Any]) -> list[str] | None:
    if columns["task"] == "regression":
        return None
    classes = names_of_classes(rows.texts[columns["target"]].different)
    if len(classes) < 2:
        found = f"column '{columns['target']}' holds {len(classes)} different values"
        raise UserError(f"{rows.table.path}: {found}; task classification expects at least two classes")
    return classes


def _told_of_numbers(preprocessing: dict[str, Any]) -> list[str]:
    """A line where classes look like numbers that are to be predicted as such."""
    classes = preprocessing["classes"] or []
    try:
        numbers = [float(name) for name in classes]
    except ValueError:
        return []
    if len(numbers) <= MOST_GRADES and all(number.is_integer() for number in numbers):
        return []
    told = f"each of {len(numbers):,} numbers in column '{preprocessing['choices']['target']}' is taken for a class"
    return [f"warning: {told}; to predict numbers: dataset.args.task=regression"]


def _copies_told(rows: TextRows, parts: dict[str, numpy.ndarray], may_be_parted: bool) -> list[str]:
    """A line where texts are copies of others, or, where such may be parted, of some of the training part."""
    if may_be_parted:
        return copies_of_training(rows.keys, parts, "texts")
    copies = num_copies(rows.keys)
    return [f"{copies:,} of {len(rows):,} texts are copies of others; equal texts stay in one part"] if copies else []
