"""What test.py leaves behind: metrics.json and predictions.csv; and what a report is made of."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy
import torch
from torch import Tensor

from base.batch import Batch, Forward
from utils.distributed import gathered, is_main, num_ranks
from utils.files import write_durably

MOST_CLASSES_LISTED = 200  # with a column each in predictions.csv
MOST_KEPT = 10**9  # bytes of targets and scores, for the report


class Answers(Protocol):
    """How outputs are read; `model/answers.py` has the one that there is."""

    kind: str
    names: list[str]
    are_probabilities: bool

    def read(self, output: Tensor) -> tuple[Tensor, Tensor]: ...
    def true(self, target: Tensor) -> Tensor: ...


class Predictions:
    """Writes down what came of each sample as it comes; keeps targets and scores as far as they fit.

    name_of: what to call the sample of an index. answers_for: how outputs are read, by the first of them; a ValueError
    says why they cannot be.
    """

    def __init__(self, name_of: Callable[[int], str], answers_for: Callable[[Any], Answers]):
        self.name_of = name_of
        self.answers: Answers | None = None
        self.why_none: str | None = None
        self._answers_for = answers_for
        self._columns: list[str] = []
        self._batches: list[list[tuple]] = []  # of several processes: the rows of each batch, to be put together
        self._kept: list[tuple[Tensor, ...]] | None = []  # of each batch indices, targets, predictions, scores
        self._num_bytes = 0
        # Nameless: gone with the process, whatever ends it.
        self._rows = tempfile.TemporaryFile()  # noqa: SIM115
        # A file name may hold bytes that are no text.
        self._text = io.TextIOWrapper(self._rows, encoding="utf-8", errors="surrogateescape", newline="")
        self._writer = csv.writer(self._text, lineterminator="\n")

    def visit(self, batch: Batch, result: Forward) -> None:
        """Write a row for each sample, unless there is no telling what its output says."""
        if self.answers is None and self.why_none is None:
            try:
                self.answers = self._answers_for(result.output)
            except ValueError as error:
                self.why_none = str(error)
        if not isinstance(result.target, Tensor):
            self.why_none = "the samples have no target"
        if self.why_none:
            return
        true = self.answers.true(result.target)
        predicted, scores = self.answers.read(result.output)
        columns = {"classes": self._class_columns, "labels": self._label_columns, "values": self._value_columns}
        self._write_batch(batch, columns[self.answers.kind](true, predicted, scores))
        self._keep(batch.indices, true, predicted, scores)

    def _write_batch(self, batch: Batch, columns: dict[str, list[Any]]) -> None:
        self._columns = ["sample", *columns]
        rows = zip(map(self.name_of, batch.indices.tolist()), *columns.values(), strict=True)
        if num_ranks() == 1:
            self._writer.writerows(rows)
        else:
            self._batches.append(list(rows))

    def _keep(self, *kept: Tensor) -> None:
        if self._kept is None:
            return
        self._kept.append(kept)
        self._num_bytes += sum(each.nbytes for each in kept)
        if self._num_bytes > MOST_KEPT:
            self._kept = None

    def put_together(self) -> None:
        """Have what all processes have: a collective. Each has had a part of each batch."""
        if num_ranks() == 1:
            return
        mine = (self._columns, self._batches, self._kept, self.answers, self.why_none)
        columns, batches, kept, answers, reasons = zip(*gathered(mine), strict=True)
        self._columns = next(filter(None, columns), [])
        for parts in itertools.zip_longest(*batches, fillvalue=()):
            self._writer.writerows(itertools.chain.from_iterable(parts))
        self._kept = None if None in kept else [*itertools.chain.from_iterable(kept)]
        self.answers = next((its for its in answers if its is not None), None)
        self.why_none = next(filter(None, reasons), None)

    def write(self, folder: Path, scores: dict[str, Any]) -> None:
        """Write the files into `folder`, which is made if need be; of several processes, the main one does."""
        if not is_main():
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "metrics.json", json.dumps(scores, indent=2) + "\n")
        with self._text:
            if self._columns:
                self._text.flush()
                self._rows.seek(0)
                write_durably(folder / "predictions.csv", self._write_rows)

    def outcome(self, **shown_of: Callable[[int], Any]) -> dict[str, Any] | None:
        """The fields of report/outcome.py's Outcome, in the order of the dataset; None where there is nothing, or too
        much.

        shown_of: functions of the dataset's index, `picture_of` and `text_of`; those of the outcome take its place
        in the arrays.
        """
        if self.why_none or not self._kept:
            return None
        indices, targets, predicted, scores = map(torch.cat, zip(*self._kept, strict=True))
        order = indices.argsort(stable=True)
        indices, is_values = indices[order].tolist(), self.answers.kind == "values"
        return {
            "kind": self.answers.kind,
            "names": [self.name_of(index) for index in indices],
            "classes": None if is_values else self.answers.names,
            "value_names": self.answers.names if is_values else None,
            "targets": targets[order].numpy().astype(numpy.float32 if is_values else numpy.int64),
            "predicted": predicted[order].numpy(),
            "scores": scores[order].numpy(),
            "are_probabilities": self.answers.are_probabilities,
            **{name: lambda place, of=of: of(indices[place]) for name, of in shown_of.items()},
        }

    @property
    def why_no_outcome(self) -> str:
        """Why there is nothing that a report could be made of."""
        return self.why_none or f"targets and scores take more than {MOST_KEPT:,} bytes"

    def _write_rows(self, file: BinaryIO) -> None:
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(self._columns)
        file.write(header.getvalue().encode("utf-8", "surrogateescape"))
        shutil.copyfileobj(self._rows, file)

    def _class_columns(self, true: Tensor, predicted: Tensor, scores: Tensor) -> dict[str, list[Any]]:
        names, num_classes = self.answers.names, scores.shape[1]
        columns = {
            "target": [self._name(i) for i in true.tolist()],
            "prediction": [self._name(i) for i in predicted.tolist()],
            "score": _taken(scores, predicted),
        }
        if num_classes > MOST_CLASSES_LISTED:
            is_class = (true >= 0) & (true < num_classes)
            of_target = _taken(scores, true.where(is_class, 0))
            known = zip(of_target, is_class.tolist(), strict=True)
            return {**columns, "target_score": [score if is_so else None for score, is_so in known]}
        return columns | {f"score_{name}": score for name, score in zip(names, scores.T.tolist(), strict=True)}

    def _label_columns(self, true: Tensor, predicted: Tensor, scores: Tensor) -> dict[str, list[Any]]:
        return _by_name({"target": true.long(), "prediction": predicted.long(), "score": scores}, self.answers.names)

    def _value_columns(self, true: Tensor, predicted: Tensor, scores: Tensor) -> dict[str, list[Any]]:
        both = {"target": true, "prediction": predicted}
        if predicted.shape[1] == 1:
            return {what: values[:, 0].tolist() for what, values in both.items()}
        return _by_name(both, self.answers.names)

    def _name(self, number: int) -> str:
        return self.answers.names[number] if 0 <= number < len(self.answers.names) else str(number)


def _taken(scores: Tensor, classes: Tensor) -> list[float]:
    """Of each sample the score of one class."""
    return scores.gather(1, classes[:, None])[:, 0].tolist()


def _by_name(tables: dict[str, Tensor], names: Sequence[str]) -> dict[str, list[Any]]:
    """A column for each column of each table (N, names): `target_NAME`, ..."""
    return {
        f"{what}_{name}": column
        for what, table in tables.items()
        for name, column in zip(names, table.T.tolist(), strict=True)
    }


def table_of_scores(scores: Mapping[str, float], intervals: Mapping[str, Sequence[float]]) -> str:
    """Scores with their intervals, aligned, in at most 80 columns."""
    names = [name if len(name) <= 36 else f"{name[:18]}…{name[-17:]}" for name in scores]
    width = max(map(len, [*names, "metric"]))
    lines = [f"{'metric':<{width}}  {'value':<12}  95 % interval"]
    for name, (key, value) in zip(names, scores.items(), strict=True):
        interval = " to ".join(f"{bound:.6g}" for bound in intervals.get(key, ()))
        lines.append(f"{name:<{width}}  {value:<12.6g}  {interval}".rstrip())
    return "\n".join(lines)


def write_text(path: Path, text: str) -> None:
    write_durably(path, lambda file: file.write(text.encode()))
