"""Any metric that a config names, behind one interface: update, compute, reset."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from base import LOSSES, METRICS
from base.conversion import convert
from base.score_sums import MeanMetric, Metric
from base.signature import parameters_of, what_it_asks
from config.schema import LossConfig, MetricConfig
from model.answer_metric import AnswerMetric
from model.build_loss import WEIGH_TARGETS
from model.metric import accuracy, exact_match, mean_absolute_error, mean_squared_error, top_k_accuracy
from model.metric_inputs import MetricInputs
from model.torch_metric import TorchMetric


def build_metrics(
    components: Sequence[MetricConfig], loss: LossConfig | None = None, facts: Mapping[str, int] | None = None
) -> dict[str, Metric]:
    """The metrics that a config lists, under their labels.

    loss: what the model is trained with. facts: what the data say of themselves, filled in where it is left out.
    """
    num_classes = (facts or {}).get("num_classes")
    from_data = {"num_classes": num_classes, "num_labels": num_classes} if num_classes else {}
    inputs = MetricInputs(loss)
    from_loss = {"threshold": 0.5} if inputs.are_probabilities else {}
    if loss is not None and loss.type in WEIGH_TARGETS and not LOSSES.is_own(loss.type):
        from_loss["ignore_index"] = loss.args.get("ignore_index", -100)
    metrics: dict[str, Metric] = {}
    for component in components:
        name, found = component.label, METRICS.find(component.type)
        if inspect.isclass(found):
            known, is_own = parameters_of(found).by_name, METRICS.is_own(component.type)
            given = from_data if is_own else from_data | from_loss
            filled = {name: value for name, value in given.items() if name in known and name != "threshold"}
            built = METRICS.build(component.type, {**filled, **component.args})
            asks = what_it_asks(built.update) if is_own else ()
            metrics[name] = TorchMetric(name, built, inputs, asks)
        else:
            function, asks = _with_options(found, component.args, from_loss), what_it_asks(found)
            if found in (accuracy, exact_match, top_k_accuracy):
                metrics[name] = AnswerMetric(name, function, asks, inputs)
            elif found in (mean_absolute_error, mean_squared_error):
                metrics[name] = MeanMetric(name, _of_numbers(function, inputs), asks)
            else:
                metrics[name] = MeanMetric(name, function, asks)
    return metrics


def _with_options(function: Callable, args: Mapping[str, Any], defaults: Mapping[str, Any]) -> Callable:
    parameters = parameters_of(function).by_name
    options = {name: convert(value, parameters[name].annotation) for name, value in args.items()}
    options |= {name: value for name, value in defaults.items() if name in parameters and name not in options}
    return partial(function, **options) if options else function


def _of_numbers(function: Callable[..., Any], inputs: MetricInputs) -> Callable[..., Any]:
    return lambda output, target: function(*inputs.numbers(output, target))
