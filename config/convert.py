"""A config of victoresque/pytorch-template as one of this project: python -m config.convert config.json > config/x.yaml

docs/from_pytorch_template.md has the table of all keys. Names of own classes are carried over; what they need, and what
has no counterpart, is told in comments.
"""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any

from .layers import document_from
from .load import check_config
from .problems import ConfigError
from .yaml_writer import write_yaml

NORMALIZE = {"type": "Normalize", "args": {"mean": [0.1307], "std": [0.3081]}}  # in the ancestor's MnistDataLoader
# The ancestor's own metrics, under the names that its logs and `monitor` have for them.
METRICS = {
    "accuracy": {"type": "accuracy"},
    "top_k_acc": {"type": "top_k_accuracy", "args": {"k": 3}, "name": "top_k_acc"},
}


class NotConvertedError(ValueError):
    """What is no config of the ancestor, in one message."""


def convert(old: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The config, and notes on what has no counterpart or needs work. NotConvertedError for what is no such config."""
    notes: list[str] = []
    rest = dict(old)
    try:
        loader, trainer = dict(rest.pop("data_loader")), dict(rest.pop("trainer"))
        new = {
            "name": name_of(str(rest.pop("name")), notes),
            "device": device_of(rest.pop("n_gpu", 1), notes),
            **data_of(loader.pop("type"), dict(loader.pop("args", {})), notes),
            "model": component_of(rest.pop("arch"), "model", notes),
            "loss": loss_of(rest.pop("loss"), notes),
            "metrics": [metric_of(name, notes) for name in rest.pop("metrics", [])],
            "optimizer": component_of(rest.pop("optimizer"), "optimizer", notes),
        }
        if scheduler := rest.pop("lr_scheduler", None):
            new["lr_scheduler"] = {**component_of(scheduler, "lr_scheduler", notes), "interval": "epoch"}
        has_validation = new["data_loader"]["validation_split"] != 0
        new["trainer"] = trainer_of(trainer, [*map(label_of, new["metrics"]), "loss"], has_validation, notes)
    except KeyError as error:
        raise NotConvertedError(f"it has no key {error}; is it a config of victoresque/pytorch-template?") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise NotConvertedError(f"it is no config of victoresque/pytorch-template: {error}") from error
    for where, left in (("", rest), ("data_loader.", loader), ("trainer.", trainer)):
        tell_what_is_left(left, where, notes)
    return new, notes


def tell_what_is_left(left: dict[str, Any], where: str, notes: list[str]) -> None:
    notes += [f"{where}{key}: {json.dumps(value)} has no counterpart" for key, value in left.items()]


def name_of(old: str, notes: list[str]) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", old).strip("._-") or "converted"
    if name != old:
        notes.append(f"name: {json.dumps(old, ensure_ascii=False)} became {name}: it is the name of a folder")
    return name


def device_of(num_gpus: int, notes: list[str]) -> str:
    if num_gpus > 1:
        notes.append(f"n_gpu: {num_gpus}: one process a GPU: torchrun --nproc-per-node {num_gpus} train.py -c ...")
    return "cpu" if num_gpus == 0 else "auto"


def data_of(kind: str, args: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """`dataset` and `data_loader`, which were one."""
    split = args.pop("validation_split", 0.0)
    loader = {"batch_size": args.pop("batch_size"), "validation_split": split or 0, "drop_last": False}
    if not args.pop("shuffle", True) and not split:  # the ancestor shuffles what a validation part was taken from
        loader["order"] = "sequential"
    workers = args.pop("num_workers", 1)
    args.pop("training", None)  # which part it is follows from `split`
    if kind == "MnistDataLoader":
        dataset = {"type": "MNIST", "args": {"root": args.pop("data_dir"), "download": True}}
        dataset["batch_transforms"] = {"train": [NORMALIZE], "eval": [NORMALIZE]}
        notes.append(f"data_loader.args.num_workers: {workers}: left to `auto`: MNIST is read whole, without processes")
        tell_what_is_left(args, "data_loader.args.", notes)
        return {"dataset": dataset, "data_loader": loader}
    notes.append(
        f"dataset: {kind} is a class of your own: make the dataset within it a class of that name in data_loader/, "
        "under @DATASETS.register, with a parameter `split`; its transforms go under dataset.transforms"
    )
    return {"dataset": {"type": kind, "args": args}, "data_loader": {**loader, "num_workers": workers}}


def component_of(old: dict[str, Any], kind: str, notes: list[str]) -> dict[str, Any]:
    rest = dict(old)
    name, args = rest.pop("type"), dict(rest.pop("args", {}))
    tell_what_is_left(rest, f"{'arch' if kind == 'model' else kind}.", notes)
    if kind == "model" and name != "MnistModel":
        notes.append(f"model: {name} is a class of your own: copy its file into model/, and put @MODELS.register on it")
    return {"type": name, "args": args}


def loss_of(name: str, notes: list[str]) -> str:
    if name != "nll_loss":
        notes.append(f"loss: {name}: one of torch's under that name, or copy yours into model/, under @LOSSES.register")
    return name


def metric_of(name: str, notes: list[str]) -> dict[str, Any]:
    if name not in METRICS:
        notes.append(
            f"metrics: {name} is a function of your own: copy it into model/, under @METRICS.register, and have it "
            "return a value for each sample instead of their mean"
        )
    return METRICS.get(name, {"type": name})


def label_of(metric: dict[str, Any]) -> str:
    return metric.get("name", metric["type"])


def trainer_of(old: dict[str, Any], scores: list[str], has_validation: bool, notes: list[str]) -> dict[str, Any]:
    """The ancestor turns monitoring off for a score that is not there; so does this, and says so."""
    monitor = old.pop("monitor", "off")
    known = [*scores, *(f"val_{name}" for name in scores if has_validation)]
    stop = old.pop("early_stop", math.inf)
    stop = 0 if stop is None or stop <= 0 or stop == math.inf else int(stop)
    if monitor != "off" and monitor.split()[1:] not in [[score] for score in known]:
        notes.append(f"trainer.monitor: {monitor}: off, as there is no such score without a validation part or metric")
        monitor = "off"
    if monitor == "off" and stop:
        notes.append(f"trainer.early_stop: {stop}: off, as nothing is monitored")
    if "verbosity" in old:
        notes.append(f"trainer.verbosity: {old.pop('verbosity')} has no counterpart; `progress` turns the bar off")
    every = old.pop("save_period", 1)
    return {
        "epochs": old.pop("epochs"),
        "save_dir": old.pop("save_dir", "saved").rstrip("/") or "/",
        "save_every": f"{every} epoch{'s' if every > 1 else ''}",
        "keep_last": 2,
        "monitor": monitor,
        "early_stop": stop if monitor != "off" else 0,
        "tensorboard": bool(old.pop("tensorboard", old.pop("tensorboardX", True))),
    }


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. NotConvertedError for a key that it has twice, of which json would take the last."""
    keys = [key for key, _ in pairs]
    if doubles := [key for key in keys if keys.count(key) > 1]:
        raise NotConvertedError(f"the key {doubles[0]!r} is there twice; keep one")
    return dict(pairs)


def main(argv: list[str]) -> int:
    """Print the converted config; returns the exit code."""
    if len(argv) != 1 or argv[0].startswith("-"):
        print("usage: python -m config.convert config.json > config/NAME.yaml", file=sys.stderr)
        return 2
    try:
        with open(argv[0], encoding="utf-8-sig") as file:  # Windows' editors begin it with a mark
            old = json.load(file, object_pairs_hook=without_doubles)
        new, notes = convert(old)
        check_config(document_from(new, argv[0]))
    except OSError as error:
        print(f"{argv[0]} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    except (ConfigError, ValueError, RecursionError) as error:  # json's is a ValueError, and so is ours
        print(f"{argv[0]}: {error}", file=sys.stderr)
        return 2
    print(f"# Made of {argv[0]} by `python -m config.convert`; docs/from_pytorch_template.md tells of each key.")
    print("".join(f"# - {note}\n" for note in notes))
    print(write_yaml(new), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
