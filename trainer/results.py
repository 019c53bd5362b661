"""What test.py leaves behind: metrics.json, predictions.csv and, for classes, confusion_matrix.png."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from base.batch import Batch, Forward
from utils.distributed import gathered, is_main, num_ranks
from utils.files import write_durably
from utils.plots import draw_confusion_matrix

MOST_CLASSES_DRAWN = 1000  # the counts of 50,000 classes would take 20 GB


class Predictions:
    """Writes down what came of each sample as it comes, and keeps nothing else than counts.

    name_of: what to call the sample of an index. classes: their names by number. threshold: with two classes and one
    score a sample, the score above which it is the second: 0 for logits, 0.5 for probabilities.
    """

    def __init__(self, name_of: Callable[[int], str], classes: Sequence[str] | None = None, threshold: float = 0.0):
        self.name_of = name_of
        self.classes = classes
        self.threshold = threshold
        self._counts: Tensor | None = None  # int64 (true class, predicted class)
        self._columns: list[str] = []
        self._batches: list[list[tuple]] = []  # of several processes: the rows of each batch, to be put together
        # Nameless: gone with the process, whatever ends it.
        self._rows = tempfile.TemporaryFile()  # noqa: SIM115
        # A file name may hold bytes that are no text.
        self._text = io.TextIOWrapper(self._rows, encoding="utf-8", errors="surrogateescape", newline="")
        self._writer = csv.writer(self._text, lineterminator="\n")

    def visit(self, batch: Batch, result: Forward) -> None:
        """Write a row for each sample. Other outputs than one tensor, or what no table can hold, are passed over."""
        output, target = result.output, result.target
        if not isinstance(output, Tensor) or not isinstance(target, Tensor):
            return
        if self._are_classes(output, target):
            columns = self._class_columns(output.float().cpu(), target.cpu())
        elif output.shape == target.shape and output.ndim == 2:
            columns = _number_columns(output.float().cpu(), target.cpu())
        else:
            return
        self._columns = ["sample", *columns]
        rows = zip(map(self.name_of, batch.indices.tolist()), *columns.values(), strict=True)
        if num_ranks() == 1:
            self._writer.writerows(rows)
        else:
            self._batches.append(list(rows))

    def write(self, folder: Path, scores: dict[str, Any]) -> None:
        """Write the files into `folder`, which is made if need be; of several processes, the main one does."""
        if num_ranks() > 1:
            self._put_together(*zip(*gathered((self._columns, self._batches, self._counts)), strict=True))
        if not is_main():
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "metrics.json", json.dumps(scores, indent=2) + "\n")
        with self._text:
            if self._columns:
                self._text.flush()
                self._rows.seek(0)
                write_durably(folder / "predictions.csv", self._write_rows)
        if self._counts is not None:
            names = [self._name(i) for i in range(len(self._counts))]
            draw_confusion_matrix(self._counts, names, folder / "confusion_matrix.png")

    def _put_together(self, columns: Sequence, batches: Sequence, counts: Sequence[Tensor | None]) -> None:
        """Write the rows of all processes, each of which has a part of each batch; add up what they have counted."""
        self._columns = next(filter(None, columns), [])
        for parts in itertools.zip_longest(*batches, fillvalue=()):
            self._writer.writerows(itertools.chain.from_iterable(parts))
        there = [its for its in counts if its is not None]
        self._counts = torch.stack(there).sum(dim=0) if there else None

    def _write_rows(self, file: BinaryIO) -> None:
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow(self._columns)
        file.write(header.getvalue().encode())
        shutil.copyfileobj(self._rows, file)

    def _are_classes(self, output: Tensor, target: Tensor) -> bool:
        is_multiclass = output.ndim == 2 and target.ndim == 1 and not target.is_floating_point()
        is_binary = output.shape == target.shape and output.ndim == 2 and output.shape[1] == 1
        return is_multiclass or (is_binary and self.classes is not None and len(self.classes) == 2)

    def _class_columns(self, output: Tensor, target: Tensor) -> dict[str, list[Any]]:
        if output.shape == target.shape:  # one score a sample, (N, 1); targets are 0 and 1, or -1 and 1
            true, predicted, score = (target[:, 0] > 0.5).long(), (output[:, 0] > self.threshold).long(), output[:, 0]
        else:
            true, predicted, score = target.long(), output.argmax(dim=1), output.softmax(dim=1).amax(dim=1)
        self._count(true, predicted, max(2, output.shape[1]))
        return {
            "target": [self._name(i) for i in true.tolist()],
            "prediction": [self._name(i) for i in predicted.tolist()],
            "score": score.tolist(),
        }

    def _count(self, true: Tensor, predicted: Tensor, num_classes: int) -> None:
        if num_classes > MOST_CLASSES_DRAWN:
            return
        if self._counts is None:
            self._counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
        is_class = (true >= 0) & (true < num_classes)  # others are left out of the loss too: ignore_index
        cells = true[is_class] * num_classes + predicted[is_class]
        self._counts.view(-1).index_add_(0, cells, torch.ones_like(cells))

    def _name(self, number: int) -> str:
        return self.classes[number] if self.classes and 0 <= number < len(self.classes) else str(number)


def _number_columns(output: Tensor, target: Tensor) -> dict[str, list[float]]:
    """Of outputs and targets (N, columns): a column each, numbered where there are several."""
    both = {"target": target, "prediction": output}
    if output.shape[1] == 1:
        return {what: values[:, 0].tolist() for what, values in both.items()}
    return {f"{what}_{i}": values[:, i].tolist() for what, values in both.items() for i in range(values.shape[1])}


def write_text(path: Path, text: str) -> None:
    write_durably(path, lambda file: file.write(text.encode()))
