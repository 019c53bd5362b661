"""New pictures of a model that makes some, for predict.py --sample."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trained import Trained
from utils.distributed import num_ranks
from utils.errors import UserError
from utils.files import make_folder, write_durably
from utils.machine import prepare_device
from utils.seeding import seed_everything

MOST_IN_A_ROW = 16
ROUNDING = 1e-3  # how far from [0, 1] a share of white may be


def write_pictures(trained: Trained, options: argparse.Namespace) -> None:
    """Write new pictures as one, side by side, as PNG; the same seed and number make the same on the same device.

    A model makes them by its method `sample(number)`, (number, C, H, W) or (number, C * H * W) in [0, 1]. UserError
    where it has none, or makes others.
    """
    from torchvision.io import encode_png
    from torchvision.utils import make_grid

    if num_ranks() > 1:
        raise UserError("--sample: pictures are made by one process; leave out torchrun")
    device = prepare_device(trained.config.device, trained.config.trainer.deterministic)
    model, _ = trained.load(device, None)
    if not hasattr(model, "sample"):
        raise UserError(f"--sample: model {trained.config.model.type} makes no pictures: it has no `sample(number)`")
    seed_everything("sample", options.seed)
    with torch.inference_mode():
        made = model.eval().sample(options.sample)
    pictures = as_pictures(made, options.sample, trained.data.get("inputs"))
    in_a_row = min(MOST_IN_A_ROW, math.ceil(math.sqrt(options.sample)))
    pixels = (make_grid(pictures, nrow=in_a_row) * 255).round().to(torch.uint8)
    path = Path(options.out)
    make_folder(path.parent)
    write_durably(path, lambda file: file.write(encode_png(pixels).numpy().tobytes()))


def as_pictures(made: Any, number: int, inputs: dict[str, Any] | None) -> Tensor:
    """What a model has made, float32 (number, C, H, W) in [0, 1].

    inputs: of the training, by whose size flat pictures go. UserError for what is no picture.
    """
    found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
    if isinstance(made, Tensor) and made.ndim == 2 and inputs and inputs["args"]:
        shape = inputs["args"][0]["shape"]
        made = made.unflatten(1, shape) if made.shape[1] == math.prod(shape) else made
    if not isinstance(made, Tensor) or made.ndim != 4 or len(made) != number or made.shape[1] not in (1, 3):
        raise UserError(f"--sample: the model's sample({number}) is {found}, not ({number}, 1 or 3, height, width)")
    made = made.float().cpu()
    if not ((made >= -ROUNDING) & (made <= 1 + ROUNDING)).all():
        raise UserError(f"--sample: the pixels are from {made.min():.3g} to {made.max():.3g}; expected shares, 0 to 1")
    return made.clamp(0, 1)
