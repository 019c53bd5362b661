"""What the data say of themselves: by it they are known again, models are shaped, and a run begins its log."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy
import torch
from torch import Tensor

from base import BATCH_TRANSFORMS
from base.batch import Batch, ModelInputs, split_target
from base.registries import FACTS_OF_TRANSFORMS
from base.signature import parameters_of
from config.schema import BatchTransformConfig, FoldConfig
from data_loader.batch_loader import BatchLoader
from data_loader.described import inputs_described, targets_described
from data_loader.limits import told_limit
from data_loader.part_notes import copies_in_own_file
from data_loader.sample_keys import keys_of_contents, keys_of_samples
from data_loader.samples import has_way
from utils.errors import UserError
from utils.plain_data import copy_plain

logger = logging.getLogger(__name__)
MOST_CLASSES_TOLD = 12


def data_of_checkpoint(
    train_loader: BatchLoader, valid_loader: BatchLoader | None, facts: dict[str, int], example: Batch
) -> dict[str, Any]:
    """What every checkpoint says of the data that its model was trained on. UserError where the parts contradict.

    example: a batch of the training part.
    """
    if valid_loader is not None:
        check_like_training(valid_loader, "validation", train_loader.classes, target_scale_of(train_loader.dataset))
    fingerprint = fingerprint_of(train_loader, valid_loader)
    if valid_loader is not None and _are_same_samples(train_loader.dataset, fingerprint):
        logger.warning(
            "the validation part holds the same samples as the training part: its scores tell of nothing new"
        )
    elif valid_loader is not None and (told := copies_in_own_file(valid_loader.dataset, train_loader.dataset)):
        logger.warning(told)
    return {
        "target": targets_described(train_loader, split_target(example.data)[1]),
        "fingerprint": fingerprint,
        "facts": facts,
        "preprocessing": preprocessing_of(train_loader.dataset),
        "inputs": inputs_described(valid_loader or train_loader),
        "target_scale": target_scale_of(train_loader.dataset),
    }


def _are_same_samples(dataset: Any, fingerprint: dict[str, Any]) -> bool:
    """Whether the training and the validation part hold the same, in the same order, as far as it is in memory."""
    is_known_by_content = fingerprint["contents"]["train"] is None and has_way(dataset, "as_tensors")
    digests = fingerprint["samples" if is_known_by_content and not hasattr(dataset, "names") else "contents"]
    return digests["train"] is not None and digests["train"] == digests["valid"]


def target_scale_of(dataset: Any) -> list[list[float]] | None:
    """Mean and deviation by which the targets of a dataset are standardised, each as float32; None: they are not."""
    scale = getattr(dataset, "target_scale", None)
    return scale and [torch.as_tensor(part, dtype=torch.float32).flatten().tolist() for part in scale]


def check_like_training(
    loader: BatchLoader, part: str, classes: Sequence[str] | None, target_scale: list[list[float]] | None
) -> None:
    """UserError where a part numbers classes, or scales targets, otherwise than the training part: scores would lie.

    classes, target_scale: of the training part; a part may lack the last classes.
    """
    remedy = "give it a keyword `preprocessing`, by which it gets the training part's (docs/data.md)"
    name, own = type(loader.dataset).__name__, loader.classes
    if classes and own and own != list(classes)[: len(own)]:
        place = next(i for i, each in enumerate(own) if [each] != list(classes)[i : i + 1])
        trained = f"'{classes[place]}'" if place < len(classes) else "none"
        found = f"class {place} of the {part} part is '{own[place]}', of the training part {trained}"
        raise UserError(f"dataset {name}: {found}: {remedy}")
    scale = target_scale_of(loader.dataset)
    if scale != target_scale and not (scale and target_scale and numpy.allclose(scale, target_scale, rtol=1e-4)):
        raise UserError(
            f"dataset {name}: the {part} part has the target_scale {scale}, the training part {target_scale}: {remedy}"
        )


def fingerprint_of(train_loader: BatchLoader, valid_loader: BatchLoader | None) -> dict[str, Any]:
    """By what data are known again, wherever they lie: plain data, cheap at every start.

    Samples by part, classes, columns, and of each part digests of what its samples are known by (their names, or the
    content of data in memory; see `keys_of_samples`), of what else is in them, where that is in memory, and of their
    targets, in their order. Files with names are not looked into: another version of a decoder gives other bits for the
    same file.
    """
    parts = {"train": train_loader, "valid": valid_loader}
    loaders = {split: loader for split, loader in parts.items() if loader is not None}
    columns = getattr(train_loader.dataset, "feature_names", None)
    return {
        "num_samples": {split: loader.num_samples for split, loader in loaders.items()},
        "samples": {split: digest_of_samples(loader) for split, loader in loaders.items()},
        "contents": {split: digest_of_contents(loader) for split, loader in loaders.items()},
        "targets": {split: _digest_of_targets(loader) for split, loader in loaders.items()},
        "classes": train_loader.classes,
        "columns": None if columns is None else [str(name) for name in columns],
    }


def digest_of_samples(loader: BatchLoader) -> str:
    """A digest of what the samples of a part are known by."""
    return _digest_of_keys(loader, keys_of_samples(loader.dataset))


def digest_of_contents(loader: BatchLoader) -> str | None:
    """A digest of what is in the samples of a part, where they are known by something else and it is in memory."""
    keys = keys_of_contents(loader.dataset)
    return None if keys is None else _digest_of_keys(loader, keys)


def _digest_of_keys(loader: BatchLoader, keys: numpy.ndarray) -> str:
    of_samples = torch.from_numpy(keys.astype("int64"))
    return _digest(of_samples if loader.members is None else of_samples.index_select(0, loader.members))


def _digest_of_targets(loader: BatchLoader) -> str | None:
    return None if (targets := loader.targets) is None else _digest(targets)


def _digest(tensor: Tensor) -> str:
    return blake2b(tensor.cpu().contiguous().numpy().tobytes(), digest_size=16).hexdigest()


def preprocessing_of(dataset: Any) -> Any:
    """What a dataset has fitted on its training part, if anything. UserError where it is no plain data."""
    preprocessing = getattr(dataset, "preprocessing", None)
    try:
        return copy_plain(preprocessing, lambda _, tensor: tensor.cpu())
    except ValueError as error:
        raise UserError(f"dataset {type(dataset).__name__}: its preprocessing cannot be saved: {error}") from error


def facts_of_targets(dataset: Any, target: Any) -> dict[str, int]:
    """How many outputs a model needs, as `num_classes` and `out_features`; and `sample_rate`; as far as the data tell.

    target: of a batch: classes (N, ...), of which the dataset has the names, or numbers (N, K).
    """
    names = ("num_classes", "out_features", "sample_rate")
    facts = {name: getattr(dataset, name) for name in names if hasattr(dataset, name)}
    if not isinstance(target, Tensor):
        return facts
    if not target.is_floating_point():
        classes = getattr(dataset, "classes", None)
        num_outputs = None if classes is None else len(classes)
    else:
        num_outputs = target.shape[1] if target.ndim == 2 else None
    return {"num_classes": num_outputs, "out_features": num_outputs, **facts} if num_outputs else facts


def facts_of_inputs(dataset: Any, inputs: ModelInputs) -> dict[str, int]:
    """What a model is given, as `in_channels`, `in_features` and the like; nothing where the data do not tell.

    inputs: a batch as the model gets it: one tensor (N, F), or pictures (N, C, H, W).
    """
    names = ("in_channels", "in_features", "vocab_size", "context_length", "max_length", "category_sizes")
    facts = {name: getattr(dataset, name) for name in names if hasattr(dataset, name)}
    only = inputs.args[0] if len(inputs.args) == 1 and not inputs.kwargs else None
    if not isinstance(only, Tensor) or not only.is_floating_point() or only.ndim not in (2, 4):
        return facts
    found = {"in_features": math.prod(only.shape[1:])}
    return {**found, **({"in_channels": only.shape[1]} if only.ndim == 4 else {}), **facts}


def transform_args(transform: BatchTransformConfig, facts: Mapping[str, int], key: str) -> dict[str, Any]:
    """The arguments of a batch transform, with what the data say; where they contradict, UserError, told at `key`."""
    args, taken = dict(transform.args), parameters_of(BATCH_TRANSFORMS.find(transform.type)).by_name
    for name in filter(taken.__contains__, FACTS_OF_TRANSFORMS):
        said = facts.get(name)
        if args.setdefault(name, said) != said and said is not None:
            raise UserError(f"{key}.args.{name}: found {args[name]}, but the data have {said}; leave it out")
    return args


def summary_of(
    train_loader: BatchLoader,
    valid_loader: BatchLoader | None,
    batch: Batch,
    training: ModelInputs,
    evaluation: ModelInputs,
    fold: FoldConfig | None = None,
) -> str:
    """What a run is trained on, in a few lines. training, evaluation: what the model gets of a batch."""
    dataset, target = train_loader.dataset, split_target(batch.data)[1]
    sizes = dict(getattr(dataset, "part_sizes", {}))
    if fold is not None and train_loader.members is not None:  # it is not the dataset that has held out the fold
        sizes.pop("test", None)
    sizes |= {"train": train_loader.num_samples, "valid": valid_loader.num_samples if valid_loader else 0}
    parts = [f"{name} {sizes[name]:,}" for name in ("train", "valid", "test") if name in sizes]
    lines = [f"data: {type(dataset).__name__}, samples: {', '.join(parts)}"]
    if train_loader.classes is not None:
        lines.append(_told_classes(train_loader.classes, train_loader.targets))
    lines.append(f"a batch, as the model gets it: {_told_inputs(training)}; target: {_told(target)}")
    if _told_inputs(evaluation) != _told_inputs(training):
        lines.append(f"and in evaluation: {_told_inputs(evaluation)}: the transforms of the two differ")
    if left := train_loader.num_left_out:
        lines.append(f"each epoch ends {left:,} samples early: they fill no batch (data_loader.drop_last)")
    lines += told_limit(train_loader.order)
    if fold is not None:
        lines.append(f"the test part is fold {fold.index} of 0 to {fold.of - 1} (data_loader.fold)")
    lines += _contradictions(train_loader, batch, target)
    of_valid = getattr(valid_loader.dataset, "notes", ()) if valid_loader else ()
    return "\n".join([*lines, *dict.fromkeys([*getattr(dataset, "notes", ()), *of_valid])])


def _contradictions(loader: BatchLoader, batch: Batch, target: Any) -> list[str]:
    """A line where the attribute `targets`, by which classes are counted and weighed, is not what the samples say."""
    known = getattr(loader.dataset, "targets", None)
    if loader.targets is None or not isinstance(target, Tensor) or target.ndim != 1 or target.is_floating_point():
        return []
    said = torch.as_tensor(known)[batch.indices]
    if said.shape != target.shape or torch.equal(said.long(), target.cpu().long()):
        return []
    names = f"{said.tolist()} of {', '.join(loader.name_of(index) for index in batch.indices.tolist())}"
    return [f"warning: the attribute `targets` of the dataset says {names}, and the samples say {target.tolist()}"]


def _told_classes(classes: Sequence[Any], targets: Tensor | None) -> str:
    """The classes with their counts; of many, the rarest and the commonest."""
    if targets is not None and len(classes) == 2 and targets.shape[1:] == (1,):  # 0 and 1, of a binary task
        targets = targets[:, 0].long()
    if targets is None or targets.is_floating_point() or targets.ndim != 1 or len(classes) <= int(targets.max()):
        return f"classes: {len(classes)}"
    counts = torch.bincount(targets[targets >= 0], minlength=len(classes)).tolist()
    told = [f"{name} {count:,}" for name, count in zip(classes, counts, strict=True)]
    if len(classes) <= MOST_CLASSES_TOLD:
        return f"classes: {len(classes)}: {', '.join(told)}"
    order = sorted(range(len(classes)), key=counts.__getitem__)
    return f"classes: {len(classes)}, from {told[order[0]]} to {told[order[-1]]}"


def _told_inputs(inputs: ModelInputs) -> str:
    return ", ".join([*map(_told, inputs.args), *(f"{name} {_told(value)}" for name, value in inputs.kwargs.items())])


def _told(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} ({', '.join(['N', *map(str, value.shape[1:])])})"
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(map(_told, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} {_told(item)}' for key, item in value.items())}}}"
    return "none" if value is None else type(value).__name__
