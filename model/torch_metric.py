"""A metric of torchmetrics behind the interface of ours: what it is fed with, and its state as plain data."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from base.batch import map_tensors
from model.metric_inputs import MetricInputs
from utils.distributed import gathered, num_ranks
from utils.errors import UserError, is_devices
from utils.torch_internals import reductions_of

if TYPE_CHECKING:
    from torchmetrics import Metric


MOST_KEPT = 64 * 2**20  # bytes of outputs and targets


class TorchMetric:
    """A torchmetrics.Metric, updated with the model's output and the target.

    Most of them wait for a GPU at each update, which no step should. There, what they are to be updated with is kept
    until a score or the state is asked for, or there is too much of it.

    inputs: makes what it is given. torchmetrics guesses from the values of each batch whether they are probabilities or
    logits, and is wrong about a batch whose logits all lie between 0 and 1; so it gets probabilities.

    What several processes have counted is put together here: torchmetrics' own way waits for ever where one of them has
    had fewer batches, or still knows the score that it computed last.
    """

    def __init__(self, name: str, metric: Metric, inputs: MetricInputs, asks: Collection[str] = ()):
        self.name = name
        self.asks = asks
        self.metric = metric
        self.inputs = inputs
        self._num_updates = 0  # the metric's own count cannot be loaded
        self._others: list[dict[str, Any]] = []  # what processes had counted that are no more
        self._kept: list[tuple[Any, Any, dict[str, Any]]] = []
        self._num_bytes_kept = 0
        self._validates = getattr(metric, "validate_args", False)
        for part in _parts_of(metric).values():
            part.persistent(True)  # its state_dict() holds its state
            part.distributed_available_fn = _never
            part.compute_with_cache = False

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
            inputs = self.inputs.of_torchmetrics(metric, output, target)
            if inputs[0] is not output and getattr(metric, "input_format", "index") != "index":
                raise ValueError("the targets are class numbers: give it args: {input_format: index}")
            metric.update(*inputs, **asked)
        except (TypeError, ValueError, RuntimeError) as error:
            if is_devices(error):
                raise
            shapes = f"output {_describe(output)}, target {_describe(target)}"
            raise UserError(f"metric {self.name} ({type(metric).__name__}): {error} ({shapes})") from error
        self._num_updates += 1

    def compute(self) -> dict[str, float]:
        self._catch_up()
        is_alone = num_ranks() == 1 and not self._others
        states = [] if is_alone else [*chain.from_iterable(gathered(self._states()))]
        if not (states or (is_alone and self._num_updates)):
            return {self.name: float("nan")}
        try:
            no_warning = nullcontext() if self.metric.update_called else _loaded_state_taken_for_none()
            with no_warning, _put_together(self.metric, states):
                value = self.metric.compute()
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            if is_devices(error):
                raise
            raise UserError(f"metric {self.name} ({type(self.metric).__name__}): {error}") from error
        return dict(_flatten(self.name, value))

    @property
    def keeps_outputs(self) -> bool:
        """Whether its state grows with the samples: what it computes from all of them takes longer than counts do."""
        return any(
            isinstance(value, list) for part in _parts_of(self.metric).values() for value in part.metric_state.values()
        )

    def scorer(self, output: Tensor, target: Tensor) -> Callable[[Tensor], dict[str, float]]:
        """Its scores of some samples, by their places int64 (n,), in this process alone. What it has counted is gone.

        output, target: of all samples, as `update` gets them.
        """
        self.reset()
        metric = self.metric.to(output.device)
        inputs = self.inputs.of_torchmetrics(metric, output, target)
        if self._validates:
            metric.validate_args = False

        def score(places: Tensor) -> dict[str, float]:
            metric.reset()
            metric.update(*(each.index_select(0, places) for each in inputs))
            return dict(_flatten(self.name, metric.compute()))

        return score

    def reset(self) -> None:
        self.metric.reset()
        self._kept, self._num_bytes_kept, self._num_updates, self._others = [], 0, 0, []

    def state_dict(self) -> dict[str, Any]:
        self._catch_up()
        own = {"state": dict(self.metric.state_dict()), "num_updates": self._num_updates}
        return {**own, "others": [*self._others]} if self._others else own

    def merge(self, state: Mapping[str, Any]) -> None:
        """Go on from a state, or keep it beside what was counted so far."""
        for each in (state, *state.get("others", ())):
            if self._num_updates:
                self._others.append({"state": each["state"], "num_updates": each["num_updates"]})
            else:
                device = self.metric.device
                self.metric.load_state_dict(dict(each["state"]))
                self.metric.to(device)
                self._num_updates = each["num_updates"]

    def _states(self) -> list[dict[str, Any]]:
        """Of this process and those that it has taken over from, as far as they have had samples, on the CPU."""
        own = self.state_dict()
        return [map_tensors(each["state"], Tensor.cpu) for each in (own, *self._others) if each["num_updates"]]


def _parts_of(metric: Metric) -> dict[str, Metric]:
    """A metric and those within it, by the beginning of their keys in its state_dict()."""
    return {name and f"{name}.": part for name, part in metric.named_modules() if hasattr(part, "metric_state")}


def _never() -> bool:
    return False


@contextmanager
def _put_together(metric: Metric, states: list[dict[str, Any]]) -> Iterator[None]:
    """While entered, a metric has the states of all, as they would be of one process, in place of its own."""
    own = [(part, dict(part.metric_state)) for part in _parts_of(metric).values()]
    states = map_tensors(states, lambda tensor: tensor.to(metric.device))
    if states and reductions_of(metric) is None:
        metric.load_state_dict(states[0])
        for state in states[1:]:
            metric.merge_state(state)
    elif states:
        for prefix, part in _parts_of(metric).items():
            for name, reduction in reductions_of(part).items():
                setattr(part, name, _reduced([state[prefix + name] for state in states], reduction))
    try:
        yield
    finally:
        for part, its in own:
            for name, value in its.items():
                setattr(part, name, value)


def _reduced(of_all: list[Any], reduction: Callable | None) -> Any:
    from torchmetrics.utilities import dim_zero_cat

    if isinstance(of_all[0], list):
        return [*chain.from_iterable(of_all)]
    if reduction is dim_zero_cat:
        return dim_zero_cat(of_all)
    return reduction(torch.stack(of_all)) if reduction else torch.stack(of_all)


@contextmanager
def _loaded_state_taken_for_none() -> Iterator[None]:
    """torchmetrics counts no updates in a state that was loaded, and warns that there is nothing to compute."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``compute`` method of metric .* was called before", UserWarning)
        yield


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
