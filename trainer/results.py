"""What test.py leaves behind: metrics.json, predictions.csv and, for classes, confusion_matrix.png."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from base.batch import Batch, Forward
from utils.files import write_durably
from utils.plots import draw_confusion_matrix


class Predictions:
    """Collects the outputs of an evaluation, sample by sample.

    classes: their names by number. threshold: with two classes and one score a sample, the score above which it is
    the second: 0 for logits, 0.5 for probabilities.
    """

    def __init__(self, classes: Sequence[str] | None = None, threshold: float = 0.0):
        self.classes = classes
        self.threshold = threshold
        self._indices: list[Tensor] = []
        self._outputs: list[Tensor] = []
        self._targets: list[Tensor] = []

    def visit(self, batch: Batch, result: Forward) -> None:
        """Keep a batch's outputs and targets, on the CPU. Other outputs than one tensor are passed over."""
        if isinstance(result.output, Tensor) and isinstance(result.target, Tensor):
            self._indices.append(batch.indices.cpu())
            self._outputs.append(result.output.float().cpu())
            self._targets.append(result.target.cpu())

    def write(self, folder: Path, scores: dict[str, Any], name_of: Any) -> None:
        """Write the files into `folder`, which is made if need be."""
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "metrics.json", json.dumps(scores, indent=2) + "\n")
        if not self._outputs:
            return
        indices, output, target = (torch.cat(parts) for parts in (self._indices, self._outputs, self._targets))
        columns = self._columns(output, target)
        if columns is None:
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["sample", *columns])
        writer.writerows(zip(map(name_of, indices.tolist()), *columns.values(), strict=True))
        write_text(folder / "predictions.csv", text.getvalue())
        if self._are_classes(output, target):
            draw_confusion_matrix(*self._confusion(output, target), folder / "confusion_matrix.png")

    def _are_classes(self, output: Tensor, target: Tensor) -> bool:
        is_multiclass = output.ndim == 2 and target.ndim == 1 and not target.is_floating_point()
        is_binary = output.shape == target.shape and output.ndim == 2 and output.shape[1] == 1
        return is_multiclass or (is_binary and self.classes is not None and len(self.classes) == 2)

    def _classes_of(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The predicted class, the true class, and the score of the predicted one, (N,) each."""
        if output.shape == target.shape:  # one score a sample, (N, 1)
            return (output[:, 0] > self.threshold).long(), target[:, 0].long(), output[:, 0]
        return output.argmax(dim=1), target, output.softmax(dim=1).amax(dim=1)

    def _columns(self, output: Tensor, target: Tensor) -> dict[str, list[Any]] | None:
        """The columns of predictions.csv; None for outputs that no table can hold."""
        if self._are_classes(output, target):
            predicted, true, score = self._classes_of(output, target)
            return {
                "target": [self._name(i) for i in true.tolist()],
                "prediction": [self._name(i) for i in predicted.tolist()],
                "score": score.tolist(),
            }
        if output.shape != target.shape or output.ndim != 2:
            return None
        if output.shape[1] == 1:
            return {"target": target[:, 0].tolist(), "prediction": output[:, 0].tolist()}
        return {
            f"{what}_{i}": values[:, i].tolist()
            for what, values in (("target", target), ("prediction", output))
            for i in range(output.shape[1])
        }

    def _confusion(self, output: Tensor, target: Tensor) -> tuple[Tensor, list[str]]:
        """Counts (true class, predicted class), and the names of the classes."""
        predicted, true, _ = self._classes_of(output, target)
        num_classes = max(2, output.shape[1])
        counts = torch.bincount(true * num_classes + predicted, minlength=num_classes**2)
        return counts.reshape(num_classes, num_classes), [self._name(i) for i in range(num_classes)]

    def _name(self, number: int) -> str:
        return self.classes[number] if self.classes and number < len(self.classes) else str(number)


def write_text(path: Path, text: str) -> None:
    write_durably(path, lambda file: file.write(text.encode()))
