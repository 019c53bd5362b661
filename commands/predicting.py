"""A trained model that answers inputs without targets, for predict.py and from Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from base.batch import Batch, Forward, split_target
from base.score_sums import ScoreSums
from data_loader.inputs import class_for_inputs, dataset_for, input_loader, readable
from data_loader.samples import unchanged_generators
from model.answers import Answers
from script import tell
from trained import Trained
from trainer.evaluation import evaluate
from utils.distributed import gathered
from utils.errors import UserError, is_devices, telling_of_memory
from utils.find_run import resolve_checkpoint
from utils.machine import prepare_device

ROOT = Path(__file__).resolve().parent.parent


class Answered(NamedTuple):
    """What came of a batch, on the CPU. indices: int64 (n,), of the inputs that could be read; errors: of the others.

    predicted, scores: see Answers.read; None where none could be read.
    """

    indices: list[int]
    predicted: Tensor | None
    scores: Tensor | None
    errors: dict[int, str]


class Inputs(NamedTuple):
    """What was given, and the dataset without targets that it is read by."""

    given: Sequence[Any]
    dataset: Any

    def name_of(self, index: int) -> str:
        """What to call an input: what the dataset calls it, else what was given, if that is text, else its number."""
        if hasattr(self.dataset, "name_of"):
            return self.dataset.name_of(index)
        is_text = len(self.given) == len(self.dataset) and isinstance(self.given[index], (str, Path))
        return str(self.given[index]) if is_text else str(index)


class NoLoss:
    """Stands where a loss would, for inputs without targets."""

    name, asks, wants_target = "none", (), False

    def to(self, device: torch.device) -> NoLoss:
        return self

    def __call__(self, output: Any, target: Any) -> tuple[Tensor, None, None]:
        return torch.zeros(()), None, None


class TrainedModel:
    """A model with all that its inputs go through, from a checkpoint alone.

    network: the nn.Module itself, with its weights.
    answers: how its outputs are read; None before the first of them.
    """

    def __init__(self, trained: Trained):
        self.trained = trained
        config = trained.config
        self.component = class_for_inputs(config.dataset.type)
        self.device = prepare_device(config.device, config.trainer.deterministic)
        self.answers: Answers | None = None
        self._in_training = SimpleNamespace(target_scale=trained.data.get("target_scale"))
        self.network, self._forward_pass = trained.load(self.device, self._in_training)
        self._forward_pass.loss_fn = NoLoss()
        self._shapes: dict[tuple[int, ...], str | None] = {}  # of pictures, and why they cannot be taken

    def predict(self, inputs: Any, resize: str | None = None) -> list[dict[str, Any]]:
        """For each input a dict, in the same order, with `prediction` and, but for values, `score` and `scores`.

        inputs: a list of paths, of pictures in memory, of rows: what the dataset's `for_inputs` takes; or one of them;
        or a batch of pictures, a tensor (N, C, H, W) or an array (N, H, W, C).
        A prediction is the name of a class, the list of labels (without `score`), a number, or numbers by name. scores:
        of every class or label, by name. One that cannot be read has `error`, and none of these. resize: how pictures
        are brought to the size of the training, where it is not told by that. UserError where no input can be taken.
        """
        inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if not inputs:
            return []
        rows: list[dict[str, Any]] = []
        with unchanged_generators():
            self.answer(self.inputs(inputs, resize), lambda answered: rows.extend(self._as_dicts(answered)))
        return rows

    def inputs(self, given: Sequence[Any], resize: str | None = None) -> Inputs:
        """What was given as a dataset; what that has to say is told. UserError as `predict`."""
        options = {} if resize is None else {"resize": resize}
        dataset = dataset_for(self.trained.config.dataset, given, self.trained.preprocessing, **options)
        for note in getattr(dataset, "notes", ()):
            tell(note)
        return Inputs(given, dataset)

    def answer(self, inputs: Inputs, take: Callable[[Answered], object]) -> None:
        """Call `take` with what comes of each batch, in order; with several processes, all get what all have."""
        config = self.trained.config
        loader = input_loader(inputs.dataset, config.dataset, config.data_loader, config.seed, self.device)
        if (
            scale := getattr(inputs.dataset, "target_scale", None)
        ) is not None:  # a checkpoint of an earlier version lacks it
            self._forward_pass.target_scale = [torch.as_tensor(each).float().to(self.device) for each in scale]
        parts: list[tuple[list[int], Tensor, Tensor]] = []
        errors: dict[int, str] = {}

        def visit(batch: Batch, result: Forward) -> None:
            if self.answers is None:
                self.answers = self.trained.answers_for(inputs.dataset, result.output)
            predicted, scores = self.answers.read(result.output)
            is_finite = scores.isfinite().all(dim=1)
            errors.update(dict.fromkeys(batch.indices[~is_finite].tolist(), "what the model gives is not finite"))
            parts.append((batch.indices[is_finite].tolist(), predicted[is_finite], scores[is_finite]))

        def batches() -> Iterator[Batch]:
            for batch in loader.batches():
                parts.clear()
                errors.clear()
                errors.update(batch.skipped if batch.counts else ())
                for each in readable(batch):  # before the next is asked for, it has been visited
                    if (reason := self._why_not_taken(each, inputs)) is None:
                        yield each
                    else:
                        errors.update(dict.fromkeys(each.indices.tolist(), reason))
                take(_put_together(parts, errors))

        with telling_of_memory(lambda: "in a prediction", config.data_loader.batch_size):
            evaluate(self._forward_pass, self.network, batches(), ScoreSums({}), config.seed, visit=visit)

    def _why_not_taken(self, batch: Batch, inputs: Inputs) -> str | None:
        """Why the model cannot take pictures of another size than the training's; if it can, that is told once."""
        pictures, _ = split_target(batch.data)
        shape = tuple(pictures.args[0].shape[1:]) if pictures.args and isinstance(pictures.args[0], Tensor) else ()
        if len(shape) == 3 and shape not in self._shapes:
            self._shapes[shape] = self._tried(batch, inputs)
        return self._shapes.get(shape)

    def _tried(self, batch: Batch, inputs: Inputs) -> str | None:
        trained_on = self.trained.data.get("facts", {}).get("in_features")
        prepared, _ = self._forward_pass.prepare(batch.data, training=False)
        found = math.prod(prepared.args[0].shape[1:])
        if trained_on in (None, found):
            return None
        try:
            self._forward_pass(self.network, batch, training=False)
        except (RuntimeError, ValueError) as error:
            if is_devices(error):
                raise
            return f"the model does not take its size, {tuple(prepared.args[0].shape[1:])}: {error}"
        name = inputs.name_of(int(batch.indices[0]))
        tell(
            f"warning: the model was trained on pictures of {trained_on:,} numbers, and {name} has {found:,}: "
            f"nothing resizes it, and what is predicted of it may be worth little"
        )
        return None

    def _as_dicts(self, answered: Answered) -> Iterator[dict[str, Any]]:
        rows: dict[int, dict[str, Any]] = {index: {"error": reason} for index, reason in answered.errors.items()}
        for place, index in enumerate(answered.indices):
            predicted, scores = answered.predicted[place], dict(self._named(answered.scores[place]))
            if self.answers.kind == "classes":
                name = self.answers.names[int(predicted)]
                rows[index] = {"prediction": name, "score": scores[name], "scores": scores}
            elif self.answers.kind == "labels":
                rows[index] = {"prediction": self.labels(predicted), "scores": scores}
            else:
                rows[index] = {"prediction": next(iter(scores.values())) if len(scores) == 1 else scores}
        return (rows[index] for index in sorted(rows))

    def labels(self, predicted: Tensor) -> list[str]:
        """The names of labels, bool (K,)."""
        return [name for name, is_so in zip(self.answers.names, predicted.tolist(), strict=True) if is_so]

    def _named(self, scores: Tensor) -> Iterator[tuple[str, float]]:
        return zip(self.answers.names, scores.tolist(), strict=True)


def load_model(run: str | Path, device: str = "auto", batch_size: int | None = None) -> TrainedModel:
    """The model of a run (its best checkpoint) or of a checkpoint, to be asked by `predict`; see TrainedModel.

    run: a path from the working directory or, where there is none, from the project's folder. batch_size: as in
    training where it is None. UserError where it cannot be loaded.
    """
    beside = ROOT / run
    place = run if Path(run).exists() or not beside.exists() else beside
    overrides = [f"device={device}", *([] if batch_size is None else [f"data_loader.batch_size={batch_size}"])]
    return TrainedModel(Trained.read(resolve_checkpoint(place), overrides, script="predict.py"))


def _put_together(parts: Sequence[tuple[list[int], Tensor, Tensor]], errors: dict[int, str]) -> Answered:
    """What all processes have of a batch, by the order of the inputs."""
    of_all = gathered(([*parts], errors))
    parts = [part for its, _ in of_all for part in its]
    errors = {index: reason for _, its in of_all for index, reason in its.items()}
    if not parts:
        return Answered([], None, None, errors)
    indices, predicted, scores = zip(*parts, strict=True)
    return Answered([index for its in indices for index in its], torch.cat(predicted), torch.cat(scores), errors)


def check_top(top: int, answers: Answers) -> None:
    """UserError where so many best classes cannot be told."""
    if top > 1 and answers.kind != "classes":
        raise UserError(f"--top: the model predicts {answers.kind}, not one of several classes")
    if top > len(answers.names):
        raise UserError(f"--top: found {top}, but the model tells {len(answers.names)} classes apart")
