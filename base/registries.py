"""Every kind of component: what stands behind it, what the program passes to it, and how its arguments are checked.

A new kind is a Registry here, and a section with its `kind` where it stands in config/schema.py: --list and --describe,
the checks of a config and `REGISTRIES` follow from these two.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import torch

from base import libraries
from base.libraries import LEFT_OUT
from base.registry import Registry
from base.signature import parameters_of

# Arguments of a dataset that say where its files are: a resumed run may change them where the data are the same.
DATA_PATH = re.compile("root|path|annFile|ann_file|.*_path")

Wrong = Iterator[tuple[str, str]]  # pairs of argument or key and message, as Registry.check says


def _without_stand_ins(args: Mapping[str, Any]) -> dict[str, Any]:
    return {}


def _check_dataset(name: str, args: Mapping[str, Any], **keys: Any) -> Wrong:
    """Files and folders among a dataset's arguments that are not there, unless it will download them."""
    parameters = parameters_of(DATASETS.find(name)).by_name
    default = parameters["download"].default if "download" in parameters else False
    if args.get("download", default) is True:
        return
    for key, value in args.items():
        is_source = isinstance(value, str) and re.match(r"[\w-]{2,}:", value)  # scikit-learn:iris; C: is a drive
        if DATA_PATH.fullmatch(key) and isinstance(value, str) and not is_source and not os.path.exists(value):
            hint = "; set download: true to fetch it" if "download" in parameters else ""
            yield key, f"no such file or folder: '{value}' (from {os.getcwd()}){hint}"


DATASETS = Registry(
    "dataset",
    libraries.torchvision_datasets,
    provided=("split", "train", "preprocessing", "test_fold", "transform", "transforms", "target_transform"),
    check=_check_dataset,
    left_out=LEFT_OUT["dataset"],
)
ORDERS = Registry("order", provided=("seed", "epoch", "num_samples", "batch_size", "lengths", "weights", "targets"))
TRANSFORMS = Registry(
    "transform", libraries.torchvision_transforms, trial=_without_stand_ins, left_out=LEFT_OUT["transform"]
)
FACTS_OF_TRANSFORMS = ("num_classes", "sample_rate")  # filled in from the data, as those of models
BATCH_TRANSFORMS = Registry(
    "batch_transform",
    libraries.kornia_augmentations,
    fills=FACTS_OF_TRANSFORMS,
    trial=_without_stand_ins,
    left_out=LEFT_OUT["batch_transform"],
)
# What the data tell of a model's arguments: filled in where a config leaves them out (data_loader/facts.py).
DATA_FACTS = (
    "num_classes",
    "out_features",
    "in_channels",
    "in_features",
    "vocab_size",
    "context_length",
    "max_length",
    "category_sizes",
)
MODELS = Registry("model", libraries.models, fills=DATA_FACTS)

# Which argument of a library's loss takes weights of classes. Other losses have a `weight` too, but of samples.
_CLASS_WEIGHT_ARGUMENTS = {
    "CrossEntropyLoss": "weight",
    "cross_entropy": "weight",
    "NLLLoss": "weight",
    "nll_loss": "weight",
    "MultiMarginLoss": "weight",
    "multi_margin_loss": "weight",
    "BCEWithLogitsLoss": "pos_weight",
    "binary_cross_entropy_with_logits": "pos_weight",
}


def class_weight_argument(loss_type: str) -> str | None:
    """The argument that takes weights of classes: `weight`, or `pos_weight` of the positive class; None without."""
    if not LOSSES.is_own(loss_type):
        return _CLASS_WEIGHT_ARGUMENTS.get(loss_type)
    names = parameters_of(LOSSES.find(loss_type)).by_name
    return next((name for name in ("weight", "pos_weight") if name in names), None)


def _check_loss(name: str, args: Mapping[str, Any], class_weights: Any = None, **keys: Any) -> Wrong:
    """A loss must come to one number, and take weights of classes where the config gives some."""
    if args.get("reduction") == "none":
        yield "reduction", "'none' gives no number to minimise; use 'mean' or 'sum'"
    for old in {"size_average", "reduce"} & set(args):
        yield old, "torch has replaced this argument by 'reduction'"
    if class_weights is not None and class_weight_argument(name) is None:
        takers = ", ".join(taker for taker in LOSSES.names() if class_weight_argument(taker))
        yield "class_weights", f"{name} takes no weights of classes; these do: {takers}"


LOSSES = Registry(
    "loss",
    libraries.torch_losses,
    provided=(  # an own loss gets output and target, torch's functions the others
        *("output", "target", "indices", "training", "input", "input1", "input2", "var", "anchor"),
        *("positive", "negative"),
        *("log_probs", "targets", "input_lengths", "target_lengths"),
    ),
    check=_check_loss,
    left_out=LEFT_OUT["loss"],
)


def _stand_ins_of_metric(args: Mapping[str, Any]) -> dict[str, Any]:
    return {name: 1000 for name in ("num_classes", "num_labels") if name not in args}


METRICS = Registry(
    "metric",
    libraries.torchmetrics_metrics,
    fills=("num_classes", "num_labels"),
    provided=("output", "target", "indices", "training"),
    trial=_stand_ins_of_metric,
    left_out=LEFT_OUT["metric"],
)


def _check_optimizer(
    name: str, args: Mapping[str, Any], no_decay: Any = False, param_groups: Any = (), **keys: Any
) -> Wrong:
    """`no_decay` asks for an optimizer that decays weights."""
    if no_decay is not True:
        return
    parameter = parameters_of(OPTIMIZERS.find(name)).by_name.get("weight_decay")
    if parameter is None:
        yield "no_decay", f"{name} has no weight decay to leave out"
        return
    decays = [group.get("args", {}).get("weight_decay") for group in param_groups if isinstance(group, dict)]
    if not any([args.get("weight_decay", parameter.default), *decays]):
        yield "no_decay", f"there is no weight decay to leave out: optimizer.args.weight_decay of {name} is 0"


def _stand_ins_of_optimizer(args: Mapping[str, Any]) -> dict[str, Any]:
    return {"params": [torch.nn.Parameter(torch.zeros(1, 1))]}  # a matrix: Muon takes nothing else


def _stand_ins_of_lr_scheduler(args: Mapping[str, Any]) -> dict[str, Any]:
    # A list may hold one value a group; whether it is as long as the run has groups, the whole schedule will tell.
    num_groups = max((len(value) for value in args.values() if isinstance(value, list)), default=1)
    groups = [{"params": [torch.nn.Parameter()]} for _ in range(max(1, num_groups))]
    stand_ins = {
        "optimizer": torch.optim.SGD(groups, lr=0.1, momentum=0.9),
        "lr_lambda": lambda step: 1.0,
        "T_max": args.get("T_max", 100),
    }
    has_length = args.keys() & {"total_steps", "epochs"}
    return stand_ins if has_length else {**stand_ins, "total_steps": 100}


OPTIMIZERS = Registry(
    "optimizer",
    libraries.torch_optimizers,
    provided=("params",),
    check=_check_optimizer,
    trial=_stand_ins_of_optimizer,
    left_out=LEFT_OUT["optimizer"],
)
LR_LAMBDAS = Registry("lr_lambda", provided=("step",))
LR_SCHEDULERS = Registry(
    "lr_scheduler",
    libraries.torch_lr_schedulers,
    provided=("optimizer", "last_epoch"),
    fills=("total_steps", "T_max", "mode"),
    references={"lr_lambda": LR_LAMBDAS},
    trial=_stand_ins_of_lr_scheduler,
    left_out=LEFT_OUT["lr_scheduler"],
)
TRAINERS = Registry(
    "trainer",
    provided=(
        *("settings", "plan", "seed", "model", "forward_pass", "metrics", "optimizer", "lr_schedule"),
        *("ema", "train_loader", "valid_loader", "metadata", "description"),
    ),
)


def _check_logger(name: str, args: Mapping[str, Any], **keys: Any) -> Wrong:
    """A tracker's package is installed by whoever names it."""
    package = getattr(LOGGERS.find(name), "package", None)
    if package and find_spec(package) is None:
        yield "type", f"{name} needs the package {package}, which is not installed: pip install {package}"


LOGGERS = Registry("logger", provided=("folder",), check=_check_logger)

REGISTRIES = {registry.kind: registry for registry in list(globals().values()) if isinstance(registry, Registry)}
