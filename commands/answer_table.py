"""The table that predict.py writes: a row for each input, as it comes."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Any, TextIO

from commands.predicting import Answered, Inputs, TrainedModel, check_top
from script import tell
from utils.distributed import is_main
from utils.errors import UserError
from utils.files import make_folder, naming, obstacle_to, sync, sync_folder


class AnswerTable:
    """Rows as CSV, or as JSON, one on a line. top: of how many classes each row tells, the best first.

    num_rows, num_errors: so far, of all inputs and of those that could not be read.
    """

    def __init__(self, file: TextIO, form: str, top: int, model: TrainedModel):
        self._file = file
        self._form = form
        self._top = top
        self._model = model
        self._waiting: list[tuple[Answered, Inputs]] | None = []  # until the columns are known
        self.num_rows = self.num_errors = 0

    def take(self, answered: Answered, inputs: Inputs) -> int:
        """Write the rows of a batch; returns how many they are."""
        num_rows = len(answered.indices) + len(answered.errors)
        self.num_rows += num_rows
        self.num_errors += len(answered.errors)
        if self._waiting is None:
            self._write(answered, inputs)
        else:
            self._waiting.append((answered, inputs))
            if self._model.answers is not None:
                check_top(self._top, self._model.answers)
                self._begin()
        self._file.flush()
        return num_rows

    def end(self) -> None:
        """Write what is left: rows of errors alone."""
        if self._waiting is not None:
            self._begin()
        self._file.flush()

    def _begin(self) -> None:
        waiting, self._waiting = self._waiting, None
        if self._form == "csv":
            self._write_lines([self._columns()])
        for answered, inputs in waiting:
            self._write(answered, inputs)

    def _columns(self) -> list[str]:
        answers = self._model.answers
        if answers is None or answers.kind == "classes":
            more = [name for place in range(2, self._top + 1) for name in (f"prediction_{place}", f"score_{place}")]
            return ["input", "prediction", "score", *more, "error"]
        if answers.kind == "labels":
            return ["input", "prediction", *(f"score_{name}" for name in answers.names), "error"]
        several = [f"prediction_{name}" for name in answers.names]
        return ["input", *(several if len(several) > 1 else ["prediction"]), "error"]

    def _write(self, answered: Answered, inputs: Inputs) -> None:
        cells = self._cells(answered) if answered.indices else []
        rows = dict(zip(answered.indices, cells, strict=True))
        columns = self._columns()
        rows |= {index: {"error": reason} for index, reason in answered.errors.items()}
        named = [{"input": inputs.name_of(index), **rows[index]} for index in sorted(rows)]
        if self._form == "csv":
            self._write_lines([[row.get(column) for column in columns] for row in named])
        else:
            self._file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in named))

    def _cells(self, answered: Answered) -> list[dict[str, Any]]:
        """Of each input that could be read, what stands in its row, by column."""
        names, kind, scores = self._model.answers.names, self._model.answers.kind, answered.scores
        if kind == "values":
            rows = scores.tolist()
        elif kind == "labels":
            labels = map(self._model.labels, answered.predicted)
            separated = map("; ".join, labels) if self._form == "csv" else labels
            rows = [[its, *row] for its, row in zip(separated, scores.tolist(), strict=True)]
        else:  # of equal scores, the one that is predicted comes first
            order = scores.scatter(1, answered.predicted[:, None], math.inf)
            best = order.argsort(dim=1, descending=True, stable=True)[:, : self._top]
            pairs = zip(best.tolist(), scores.gather(1, best).tolist(), strict=True)
            rows = [[cell for i, score in zip(*pair, strict=True) for cell in (names[i], score)] for pair in pairs]
        return [dict(zip(self._columns()[1:-1], row, strict=True)) for row in rows]

    def _write_lines(self, lines: list[list[Any]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        self._file.write(text.getvalue())


class Destination:
    """Where rows go: standard output, or FILE.part, which becomes FILE when all are in it and on the disk."""

    def __init__(self, path: str | None):
        self.path = None if path is None else Path(path)
        if self.path is not None and (obstacle := self._obstacle()):
            raise UserError(f"--out: nothing can be written to {path}: {obstacle}")

    def _obstacle(self) -> str | None:
        return f"{self.path} is a folder" if self.path.is_dir() else obstacle_to(self.path.parent)

    def __enter__(self) -> TextIO:
        if self.path is None:
            return sys.stdout
        if not is_main():
            self._file = open(os.devnull, "w", encoding="utf-8")
            return self._file
        make_folder(self.path.parent)
        self._part = self.path.with_name(f"{self.path.name}.part")
        with naming(self._part):
            # A file name may hold bytes that are no text.
            self._file = open(self._part, "w", encoding="utf-8", errors="surrogateescape", newline="")
        return self._file

    def __exit__(self, kind: type | None, *_: object) -> None:
        if self.path is None:
            return
        with naming(self.path), self._file:
            self._file.flush()
            if kind is None and is_main():
                sync(self._file.fileno())
        if not is_main():
            return
        if kind is not None:
            tell(f"what was predicted before is in {self._part}")
            return
        os.replace(self._part, self.path)
        sync_folder(self.path.parent)
