"""A trained model, rebuilt from its checkpoint alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from base import DATASETS, LOSSES, METRICS
from base.registries import DATA_PATH
from base.target_kind import TargetKind
from config.compare import overrides_without_effect
from config.load import check_config, document_from
from config.problems import ConfigError, Problem
from config.schema import Config, LossConfig
from config.yaml_reader import Document
from data_loader.batch_loader import BatchLoader
from data_loader.facts import check_like_training, digest_of_contents, digest_of_samples
from data_loader.inputs import takes_argument
from experiment import build_forward_pass
from model.answers import Answers, answers_of
from model.build import build_model
from model.data_facts import with_facts
from model.initial_weights import check_fit
from script import load_registries, tell
from trainer.forward import ForwardPass
from trainer.memory_format import set_memory_format
from utils.checkpoint import read_checkpoint

# Arguments by which datasets divide their samples: with others, those trained on may come into another part.
DIVIDING = ("split_seed", "test_fraction", "valid_fraction", "group", "test_files")


class Trained(NamedTuple):
    """A checkpoint: its file, the state in it, and its config with overrides laid over it."""

    path: Path
    state: dict[str, Any]
    config: Config

    @classmethod
    def read(cls, path: Path, overrides: list[str], script: str = "test.py") -> Trained:
        """ConfigError for overrides that are wrong, or that would change nothing in what the script does.

        predict.py and export.py: the data of the training need not be there.
        """
        state = read_checkpoint(path)
        config = _without_data(state["config"]) if script == "predict.py" else state["config"]
        document = document_from(config, str(path), overrides)
        document.problems.extend(overrides_without_effect(document, script))
        is_without = script == "export.py" and not any(override.startswith("dataset") for override in overrides)
        trained = cls(path, state, check_config(document, _all_but_datasets if is_without else load_registries, tell))
        if script == "predict.py" and (unused := _unused_arguments(document, trained.config)):
            raise ConfigError(unused)
        return trained

    @property
    def data(self) -> dict[str, Any]:
        """What the checkpoint says of the data that the model was trained on; {} in one of an earlier version."""
        return self.state.get("data") or {}

    @property
    def classes(self) -> list[str] | None:
        """The names of the classes by the numbers that the model has for them."""
        return self.state["classes"]

    @property
    def notes(self) -> list[str]:
        """What to know of the training before a score is believed."""
        limits, is_scaled = self.state["config"]["data_loader"], self.data.get("target_scale") is not None
        unit = ["The loss is of standardised targets; metrics and predictions are in their own unit."] * is_scaled
        return [*unit, *self._other_batches()] + [
            f"The training was a trial, with data_loader.{name}: {limits[name]}."
            for name in ("overfit_batches", "limit_batches")
            if limits.get(name)
        ]

    def _other_batches(self) -> list[str]:
        """A note where a loss or a metric goes by the other samples of a batch, and batches have another size."""
        now, before = self.config.data_loader.batch_size, self.state["config"]["data_loader"]["batch_size"]
        components = [(LOSSES, self.config.loss.type), *((METRICS, metric.type) for metric in self.config.metrics)]
        names = [
            name
            for registry, name in components
            if registry.is_own(name) and getattr(registry.find(name), "compares_samples", False)
        ]
        if not names or now == before:
            return []
        told = f"{' and '.join(names)} compare the samples of a batch with each other"
        return [f"{told}: batches have {now} samples here, and had {before} in training; other scores come of that."]

    @property
    def preprocessing(self) -> Any:
        """What the dataset has fitted on its training part; None for a dataset of another type."""
        is_same = self.config.dataset.type == self.state["config"]["dataset"]["type"]
        return self.data.get("preprocessing") if is_same else None

    @property
    def weights(self) -> dict[str, Tensor]:
        """The averaged ones where there are any."""
        return self.state["ema"]["model"] if "ema" in self.state else self.state["model"]

    def load(self, device: torch.device, dataset: Any) -> tuple[nn.Module, ForwardPass]:
        """The model with its weights, and what a batch goes through with it."""
        config, state, facts = self.config, self.state, self.data.get("facts", {})
        model = build_model(with_facts(config.model, facts, config.loss.type), config.seed, is_trained=True)
        check_fit(model, self.weights, self.path)
        model.load_state_dict(self.weights)
        model.to(device)
        forward_pass = build_forward_pass(config, LossConfig(**state["loss"]), device, dataset, facts)
        if "loss_state" in state:
            forward_pass.loss_fn.load_state_dict(state["loss_state"])
        set_memory_format(forward_pass, model, state.get("channels_last", False))
        return model, forward_pass

    def check_targets(self, loader: BatchLoader, split: str) -> None:
        """UserError for a part whose targets are not standardised as in training: scores would be of another unit."""
        if "target_scale" in self.data:  # a checkpoint of an earlier version does not say
            check_like_training(loader, split, None, self.data["target_scale"])

    def answers_for(self, dataset: Any, output: Any) -> Answers:
        """How the model's outputs are read. NoAnswerError where that is not known. output: of a batch."""
        names = getattr(dataset, "target_names", None)
        return answers_of(self.config.loss, output, self.target_kind, self.classes, names)

    @property
    def target_kind(self) -> TargetKind | None:
        """What the targets of the training were; of a checkpoint of an earlier version, what its facts make of them."""
        if "target" in self.data:
            said = self.data["target"]
            return said and TargetKind(said["is_whole"], said["is_binary"], tuple(said["shape"]))
        outputs = self.data.get("facts", {}).get("out_features")
        is_whole = self.classes is not None or outputs is None
        return TargetKind(is_whole, True, () if is_whole else (outputs,))

    def changes_of_data(self, loader: BatchLoader, split: str) -> list[str]:
        """In what a part of the data differs from that in training, as far as the checkpoint tells."""
        fingerprint = self.data.get("fingerprint", {})
        changes = []
        if self.data.get("preprocessing") is not None and self.preprocessing is None:
            changes.append(f"{self.config.dataset.type} does not get what another dataset has fitted in training")
        args, before = self.config.dataset.args, self.state["config"]["dataset"]["args"]
        others = [name for name in DIVIDING if args.get(name) != before.get(name)]
        is_divided = "train" in getattr(loader.dataset, "part_sizes", {})
        if is_divided and self.config.data_loader.fold is None and self.state["config"]["data_loader"].get("fold"):
            others.append("data_loader.fold")
        if others:
            changes.append(f"another {' and '.join(others)}: the model may have been trained on some of these samples")
        was = fingerprint.get("num_samples", {}).get(split)
        if was is not None and was != loader.num_samples:
            changes.append(f"{loader.num_samples:,} samples, not {was:,}")
        else:
            digests = {"samples": digest_of_samples(loader), "contents": digest_of_contents(loader)}
            is_other = (fingerprint.get(key, {}).get(split, digest) != digest for key, digest in digests.items())
            changes += ["other samples"] if any(is_other) else []
        columns = getattr(loader.dataset, "feature_names", None)
        if columns is not None and fingerprint.get("columns") not in (None, list(columns)):
            changes.append(f"the columns {', '.join(columns)[:200]}, not {', '.join(fingerprint['columns'])[:200]}")
        dataset, before = self.config.dataset.model_dump(), self.state["config"]["dataset"]
        for kind in ("transforms", "batch_transforms"):
            if dataset[kind]["eval"] != before[kind]["eval"]:
                changes.append(f"another dataset.{kind}.eval")
        return changes


def _without_data(config: dict[str, Any]) -> dict[str, Any]:
    """A config whose dataset names a folder that is there in place of its files: nothing reads it."""
    dataset = config["dataset"]
    args = {name: "." if DATA_PATH.fullmatch(name) and value else value for name, value in dataset["args"].items()}
    return {**config, "dataset": {**dataset, "args": args, "split_args": {}}}


def _unused_arguments(document: Document, config: Config) -> list[Problem]:
    """What is wrong with overrides of the dataset's arguments that its inputs make nothing of."""
    component = DATASETS.find(config.dataset.type)
    return [
        Problem(origin, path, "would change nothing: inputs are given on the command line, and read as in training")
        for path, origin in document.origins.items()
        if path[:2] == ("dataset", "args") and len(path) == 3 and origin != document.origins[()]
        if not (hasattr(component, "for_inputs") and takes_argument(component, path[2]))
    ]


def _all_but_datasets() -> dict[str, Any]:
    return {kind: registry for kind, registry in load_registries().items() if kind != "dataset"}
