"""What a first batch tells: transforms that leave out pictures, or targets behind, and classes without a score."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from base.batch import Forward, are_class_scores, is_picture_batch, map_tensors, split_target
from trainer.trainer import Trainer
from utils.errors import UserError, too_few_scores

# In the modules of torchvision and kornia whose transforms move pixels, or may.
MOVING = ("._geometry", "._auto_augment", ".geometric.", "._2d.mix.")


def check_data(trainer: Trainer, num_samples: int) -> None:
    """UserError where transforms of a batch of pictures get no pictures, or a class has no score of the model."""
    forward_pass = trainer.forward_pass
    with torch.no_grad():
        batch = trainer.train_loader.example(num_samples)
        result = forward_pass(trainer.model, batch, training=True)
    if not any(map(is_picture_batch, (*result.inputs.args, *result.inputs.kwargs.values()))):
        for split in ("train", "eval"):
            if len(getattr(forward_pass, f"{split}_transforms")):
                raise UserError(
                    f"dataset.batch_transforms.{split}: these are for pictures, (N, C, H, W), and would be left out: "
                    "the inputs of this dataset are none"
                )
    if split_target(batch.data)[1] is not None:  # else it is the input that is learned
        check_targets_move_along(trainer, result)
    if not forward_pass.loss_fn.weighs_targets:  # a loss of one's own may know what to do with any class
        return
    targets, output = trainer.train_loader.targets, result.output
    if targets is None or not isinstance(output, Tensor) or not are_class_scores(output, targets):
        return
    highest = int(targets.max())
    if highest >= output.shape[1] and highest != trainer.metadata["loss"]["args"].get("ignore_index"):
        raise too_few_scores(highest, output.shape[1])


def check_targets_move_along(trainer: Trainer, result: Forward) -> None:
    """UserError where transforms move the pixels of pictures, and leave those of targets as large where they are."""
    sizes = {
        tensor.shape[-2:]
        for tensor in (*result.inputs.args, *result.inputs.kwargs.values())
        if is_picture_batch(tensor)
    }
    targets: list[Tensor] = []
    map_tensors(result.target, targets.append)
    if not any(target.ndim >= 3 and target.shape[-2:] in sizes for target in targets):
        return
    forward_pass = trainer.forward_pass
    for split, loader, of_batches in (
        ("train", trainer.train_loader, forward_pass.train_transforms),
        ("eval", trainer.valid_loader, forward_pass.eval_transforms),
    ):
        for kind, transforms in (
            ("transforms", loader.input_transforms if loader else ()),
            ("batch_transforms", of_batches),
        ):
            for place, transform in enumerate(transforms):
                if moves_pixels(transform):
                    name = trainer.metadata["config"]["dataset"][kind][split][place]["type"]
                    raise UserError(
                        f"dataset.{kind}.{split}.{place}: {name} moves the pixels of the pictures, "
                        "but not those of the targets, which are as large: the two would no longer belong together. "
                        "Return both as torchvision's tv_tensors (Image and Mask), which transforms of samples move "
                        "together; or move both in the dataset, with the same random numbers"
                    )


def moves_pixels(transform: Any) -> bool:
    """Whether a transform, or one within it, says so by `moves_pixels = True`, or is a library's for geometry."""
    parts = transform.modules() if isinstance(transform, nn.Module) else [transform]
    return any(
        getattr(part, "moves_pixels", False) or any(name in type(part).__module__ for name in MOVING) for part in parts
    )
