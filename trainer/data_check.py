"""What a first batch tells: transforms that leave out pictures, or targets behind, and scores of another kind."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from base import LOSSES
from base.batch import Batch, Forward, are_class_scores, is_picture_batch, map_tensors, split_target
from base.input_form import forming, told_forms
from trainer.trainer import Trainer
from utils.errors import UserError, too_few_scores

logger = logging.getLogger(__name__)

# In the modules of torchvision and kornia whose transforms move pixels, or may.
MOVING = ("._geometry", "._auto_augment", ".geometric.", "._2d.mix.")

# Losses of counts and shares, which standardised numbers are not; torch takes any.
TAKE_NO_SCALED_TARGETS = (
    *("PoissonNLLLoss", "poisson_nll_loss"),
    *("BCEWithLogitsLoss", "binary_cross_entropy_with_logits"),
)


def check_data(trainer: Trainer, num_samples: int) -> None:
    """UserError where transforms of a batch of pictures get no pictures, or a class has no score of the model.

    Also where targets are standardised for a loss of counts or shares.
    """
    forward_pass = trainer.forward_pass
    tell_of_other_inputs(trainer.metadata["config"]["dataset"])
    if forward_pass.target_scale is not None and (name := forward_pass.loss_fn.name) in TAKE_NO_SCALED_TARGETS:
        raise UserError(
            f"loss {name}: it takes counts or shares, and the targets are standardised (the dataset has a "
            "target_scale). Leave them as they are (of TabularCSV: standardise_target: false)"
        )
    with torch.no_grad():
        batch = trainer.train_loader.example(num_samples)
        result = forward_pass(trainer.model, batch, training=True)
    targets = trainer.train_loader.targets
    check_shares(forward_pass.loss_fn.name, split_target(batch.data)[1] if targets is None else targets)
    check_views_differ(trainer, batch)
    if not any(map(is_picture_batch, (*result.inputs.args, *result.inputs.kwargs.values()))):
        for split in ("train", "eval"):
            if len(getattr(forward_pass, f"{split}_transforms")):
                raise UserError(
                    f"dataset.batch_transforms.{split}: these are for pictures, (N, C, H, W), and would be left out: "
                    "the inputs of this dataset are none"
                )
    if split_target(batch.data)[1] is not None:  # else it is the input that is learned
        check_targets_move_along(trainer, batch, result)
    tell_of_logits(forward_pass.loss_fn.name, result.output)
    if not forward_pass.loss_fn.weighs_targets:  # a loss of one's own may know what to do with any class
        return
    output = result.output
    if targets is None or not isinstance(output, Tensor) or not are_class_scores(output, targets):
        return
    highest = int(targets.max())
    if highest >= output.shape[1] and highest != trainer.metadata["loss"]["args"].get("ignore_index"):
        raise too_few_scores(highest, output.shape[1])


def tell_of_other_inputs(dataset: Mapping[str, Any]) -> None:
    """A line where inputs are normalised, or spectrograms made, otherwise in evaluation. dataset: its config."""
    train, evaluation = (forming(dataset, split) for split in ("train", "eval"))
    if train != evaluation:
        told = "dataset: inputs go through %s in training, and in evaluation, whose scores then say little, through %s"
        logger.warning(told, told_forms(train), told_forms(evaluation))


def check_shares(loss: str, target: Any) -> None:
    """UserError where shares of the classes do not sum to 1, as several labels a sample do: they would be weights."""
    if loss not in ("CrossEntropyLoss", "cross_entropy") or LOSSES.is_own(loss) or not isinstance(target, Tensor):
        return
    if target.ndim < 2 or not target.is_floating_point():
        return
    sums = target.sum(dim=1)
    if not torch.allclose(sums, torch.ones_like(sums), atol=1e-2):
        raise UserError(
            f"loss {loss}: targets of floats are shares of the classes, and of a sample they sum to "
            f"{sums.min():.3g} to {sums.max():.3g}, not to 1. For several labels a sample: loss: BCEWithLogitsLoss"
        )


def check_views_differ(trainer: Trainer, batch: Batch) -> None:
    """UserError where two views of a picture are the same: finding one by the other would be learned at once."""
    for split, training in (("train", True), ("eval", False)):
        transforms = getattr(trainer.forward_pass, f"{split}_transforms")
        names = [type(each).__name__ for each in transforms if getattr(each, "makes_views", False)]
        if not names:
            continue
        inputs, _ = trainer.forward_pass.prepare(batch.data, training=training)
        for pictures in (*inputs.args, *inputs.kwargs.values()):
            if is_picture_batch(pictures) and torch.equal(*pictures.chunk(2)):
                raise UserError(
                    f"dataset.batch_transforms.{split}: both views of each picture are the same: after {names[0]}, "
                    "put transforms that draw at random for each picture (RandomCrop; kornia's ColorJitter, ...)"
                )


def tell_of_logits(loss: str, output: Any) -> None:
    """A line where a loss that takes logarithms of probabilities gets other scores: it would fall without end."""
    if loss not in ("NLLLoss", "nll_loss") or LOSSES.is_own(loss) or not isinstance(output, Tensor) or output.ndim < 2:
        return
    total = output.double().exp().sum(dim=1).mean().item()
    if not abs(total - 1) < 0.02:  # in low precision they are not exact
        told = "loss %s expects log-probabilities, and exp() of the model's outputs sums to %.3g, not 1: "
        logger.warning(f"{told}end it with log_softmax, or use CrossEntropyLoss", loss, total)


def check_targets_move_along(trainer: Trainer, batch: Batch, result: Forward) -> None:
    """UserError where transforms move the pixels of pictures, and leave targets that are pictures where they are.

    A line where they may be places in a picture, or where a batch has several pictures a sample, and each is moved by
    itself.
    """
    before, after = split_target(batch.data)[0], result.inputs
    pictures = [x for x in (*after.args, *after.kwargs.values()) if is_picture_batch(x)]
    sizes = {x.shape[-2:] for x in (*pictures, *before.args, *before.kwargs.values()) if isinstance(x, Tensor)}
    targets: list[Tensor] = []
    map_tensors(result.target, targets.append)
    are_maps = next((target for target in targets if is_map(target, sizes)), None)
    are_places = next((target for target in targets if target.ndim == 3 and target.shape[2] in (2, 4)), None)
    for key, name in moving_transforms(trainer):
        if pictures and are_maps is not None:
            raise UserError(
                f"{key}: {name} moves the pixels of the pictures, but not those of the targets, "
                f"{tuple(are_maps.shape)}: the two would no longer belong together. "
                "Return both as torchvision's tv_tensors (Image and Mask), which transforms of samples move "
                "together; or move both in the dataset, with the same random numbers"
            )
        if pictures and are_places is not None:
            told = "%s: %s moves the pixels of the pictures; targets %s that are places in them (boxes, points) stay"
            logger.warning(
                f"{told}, unless they are tv_tensors in dataset.transforms", key, name, tuple(are_places.shape)
            )
        if len(pictures) > 1 and ".batch_transforms." in key:
            told = "%s: %s moves each of the %d pictures of a sample by itself, as two views are to be"
            logger.warning(
                f"{told}; those that belong together pixel by pixel go as tv_tensors through dataset.transforms",
                *(key, name, len(pictures)),
            )


def is_map(target: Tensor, sizes: set[torch.Size]) -> bool:
    """Whether a target is itself a picture, or says something of each place in one of these sizes (H, W)."""
    if target.ndim < 3:
        return False
    height, width = target.shape[-2:]
    is_scaled = any(height * size[1] == width * size[0] for size in sizes if len(size) == 2)
    is_of_classes = not target.is_floating_point() and height > 1 and is_scaled
    return target.ndim > 3 or (height, width) in sizes or is_of_classes


def moving_transforms(trainer: Trainer) -> Iterator[tuple[str, str]]:
    """The key and the name of each transform that moves the pixels of inputs, and not those of their targets."""
    forward_pass = trainer.forward_pass
    for split, loader, of_batches in (
        ("train", trainer.train_loader, forward_pass.train_transforms),
        ("eval", trainer.valid_loader, forward_pass.eval_transforms),
    ):
        of_samples = loader.input_transforms if loader else ()
        for kind, transforms in (("transforms", of_samples), ("batch_transforms", of_batches)):
            for place, transform in enumerate(transforms):
                if moves_pixels(transform):
                    name = trainer.metadata["config"]["dataset"][kind][split][place]["type"]
                    yield f"dataset.{kind}.{split}.{place}", name


def moves_pixels(transform: Any) -> bool:
    """Whether a transform, or one within it, says so by `moves_pixels = True`, or is a library's for geometry."""
    parts = transform.modules() if isinstance(transform, nn.Module) else [transform]
    return any(
        getattr(part, "moves_pixels", False) or any(name in type(part).__module__ for name in MOVING) for part in parts
    )
