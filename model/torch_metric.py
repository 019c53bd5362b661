"""A metric of torchmetrics behind the interface of ours: what it is fed with, and its state as plain data."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from base.batch import are_class_scores, map_tensors
from utils.distributed import gathered, summed
from utils.errors import UserError, is_devices

if TYPE_CHECKING:
    from torchmetrics import Metric


MOST_KEPT = 64 * 2**20  # bytes of outputs and targets


class TorchMetric:
    """A torchmetrics.Metric, updated with the model's output and the target.

    Most of them wait for a GPU at each update, which no step should. There, what they are to be updated with is kept
    until a score or the state is asked for, or there is too much of it.

    are_probabilities: whether the model returns probabilities of two classes, or logits. torchmetrics guesses it from
    the values of each batch, and is wrong about a batch whose logits all lie between 0 and 1; so it is told.
    """

    def __init__(self, name: str, metric: Metric, are_probabilities: bool, asks: Collection[str] = ()):
        self.name = name
        self.asks = asks
        self.metric = metric
        self.are_probabilities = are_probabilities
        self._num_updates = 0  # the metric's own count cannot be loaded
        self._kept: list[tuple[Any, Any, dict[str, Any]]] = []
        self._num_bytes_kept = 0
        self._validates = getattr(metric, "validate_args", False)
        metric.persistent(True)  # its state_dict() holds its state
        for part in metric.modules():
            part.dist_sync_fn = _of_all_processes

    def update(self, output: Any, target: Any, **asked: Any) -> None:
        tensors: list[Tensor] = []
        map_tensors((output, target), tensors.append)
        self._kept.append((output, target, asked))
        self._num_bytes_kept += sum(tensor.nbytes for tensor in tensors)
        if self._num_bytes_kept > MOST_KEPT or all(tensor.is_cpu for tensor in tensors):
            self._catch_up()

    def _catch_up(self) -> None:
        kept, self._kept, self._num_bytes_kept = self._kept, [], 0
        for output, target, asked in kept:
            self._update(output, target, asked)

    def _update(self, output: Any, target: Any, asked: dict[str, Any]) -> None:
        metric = self.metric
        if isinstance(output, Tensor) and output.device != metric.device:
            with torch.inference_mode(False):
                metric.to(output.device)
        # Looking at the values of every batch would wait for the device; the first of each epoch tell most mistakes.
        if self._validates:
            metric.validate_args = self._num_updates == 0
        try:
            metric.update(*prepare(metric, output, target, self.are_probabilities), **asked)
        except (TypeError, ValueError, RuntimeError) as error:
            if is_devices(error):
                raise
            shapes = f"output {_describe(output)}, target {_describe(target)}"
            raise UserError(f"metric {self.name} ({type(metric).__name__}): {error} ({shapes})") from error
        self._num_updates += 1

    def compute(self) -> dict[str, float]:
        self._catch_up()
        if not summed(self._num_updates)[0]:
            return {self.name: float("nan")}
        try:
            with nullcontext() if self.metric.update_called else _loaded_state_taken_for_none():
                value = self.metric.compute()
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            if is_devices(error):
                raise
            raise UserError(f"metric {self.name} ({type(self.metric).__name__}): {error}") from error
        return dict(_flatten(self.name, value))

    def reset(self) -> None:
        self.metric.reset()
        self._kept, self._num_bytes_kept, self._num_updates = [], 0, 0

    def state_dict(self) -> dict[str, Any]:
        self._catch_up()
        return {"state": dict(self.metric.state_dict()), "num_updates": self._num_updates}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, or add it to what was counted so far."""
        if self._num_updates:
            self.metric.merge_state(map_tensors(dict(state["state"]), lambda tensor: tensor.to(self.metric.device)))
        else:
            device = self.metric.device
            self.metric.load_state_dict(dict(state["state"]))
            self.metric.to(device)
        self._num_updates += state["num_updates"]


def _of_all_processes(state: Tensor, group: object = None) -> list[Tensor]:
    """A part of the state of each process, but for those that have seen no sample: torchmetrics' own gathering ends
    the process where these have another number of axes.
    """
    tensors = [tensor.to(state.device) for tensor in gathered(state.cpu())]
    return [tensor for tensor in tensors if tensor.numel()] or tensors[:1]


@contextmanager
def _loaded_state_taken_for_none() -> Iterator[None]:
    """torchmetrics counts no updates in a state that was loaded, and warns that there is nothing to compute."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``compute`` method of metric .* was called before", UserWarning)
        yield


def prepare(metric: Metric, output: Any, target: Any, are_probabilities: bool) -> tuple[Any, Any]:
    """Output and target as a metric of torchmetrics wants them; an own one gets them as they are."""
    library, _, room = type(metric).__module__.partition(".")
    if library != "torchmetrics" or not isinstance(output, Tensor) or not isinstance(target, Tensor):
        return output, target
    room = room.split(".")[0]
    if room == "classification":
        return _classification(type(metric).__name__, output, target, are_probabilities)
    if room == "regression" and output.shape == target.shape and output.shape[1:] == (1,):
        return output.squeeze(1), target.squeeze(1)  # (N, 1) -> (N,)
    if room in ("segmentation", "clustering", "nominal") and are_class_scores(output, target):
        return output.argmax(dim=1), target  # (N, C, ...) -> (N, ...)
    return output, target


def _classification(name: str, output: Tensor, target: Tensor, are_probabilities: bool) -> tuple[Tensor, Tensor]:
    if not output.is_floating_point():
        return output, target.long()
    if name.startswith("Multiclass"):
        return output.softmax(dim=1), target.long()  # of log probabilities, it is the probabilities again
    if name.startswith("Binary") and output.ndim == target.ndim + 1 and output.shape[1] == 2:
        return output.softmax(dim=1)[:, 1], target.long()  # (N, 2) -> (N,), a model with two class scores
    probabilities = output if are_probabilities else output.sigmoid()
    if name.startswith("Binary") and probabilities.shape != target.shape:
        probabilities = probabilities.reshape(target.shape)  # (N, 1) with targets (N,)
    return probabilities, target.long()


def _flatten(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """The numbers that a metric computed, each under a name."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flatten(f"{name}_{key}", inner)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _flatten(f"{name}_{index}", inner)
    else:
        yield name, float(value)


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__
