"""Pictures without targets, from files or from memory, brought to what a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.utils.data import Dataset

from data_loader.pictures.decoding import Resize, read_picture, resized, rgb_of, rgb_of_pillow
from utils.errors import UserError


class PictureInputs(Dataset):
    """Samples are uint8 (C, H, W). An input is a path, a picture of Pillow, a tensor (C, H, W) or an array (H, W, C).

    A tensor (N, C, H, W) or an array (N, H, W, C) among them is N inputs.
    channels: 3, or 1 for grey. size: height and width to resize to, as `resize` says; with `resize` None, pictures must
    have it; None: pictures stay as they are. Numbers are uint8, or floats from 0 to 1. UserError or OSError for a
    picture that cannot be read.
    """

    draws_random_numbers = False

    def __init__(
        self,
        inputs: Sequence[Any],
        channels: int = 3,
        size: tuple[int, int] | None = None,
        resize: Resize | None = None,
    ):
        self.inputs = [picture for given in inputs for picture in (given if _is_batch(given) else [given])]
        self.channels = channels
        self.size = size
        self.resize = resize

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Tensor:
        given, size = self.inputs[index], self.size if self.resize else None
        if isinstance(given, (str, Path)):
            picture = read_picture(Path(given), size, self.resize or "stretch")
        else:
            picture = _rgb_of_memory(given)
            picture = picture if size is None else resized(picture, size, self.resize)
        found = tuple(picture.shape[1:])
        if self.size is not None and found != self.size:
            raise UserError(
                f"it is {found[0]}x{found[1]} (height x width), and the model was trained on {self.size[0]}x"
                f"{self.size[1]}: bring it to that as the training pictures were, or say how with --resize "
                "stretch, crop or pad (`resize` in Python)"
            )
        return (_grey(picture) if self.channels == 1 else picture).contiguous()


def _is_batch(given: Any) -> bool:
    return isinstance(given, (Tensor, numpy.ndarray)) and given.ndim == 4


def _rgb_of_memory(given: Any) -> Tensor:
    """Pixels, uint8 (3, H, W), of a picture of Pillow, a tensor or an array. UserError for what is none."""
    if type(given).__module__.startswith("PIL."):
        return rgb_of_pillow(given.copy())
    if isinstance(given, Tensor):
        pixels = given.detach().cpu()
        pixels = pixels.unsqueeze(0) if pixels.ndim == 2 else pixels
        order = "a tensor (H, W) or (C, H, W)"
    elif isinstance(given, numpy.ndarray):
        pixels = torch.from_numpy(given.copy())
        pixels = pixels.unsqueeze(0) if pixels.ndim == 2 else pixels.movedim(-1, 0)
        order = "an array (H, W) or (H, W, C)"
    else:
        raise UserError(f"found {type(given).__name__}; expected a path, a picture of Pillow, a tensor or an array")
    if pixels.ndim != 3 or pixels.shape[0] not in (1, 3, 4):
        raise UserError(f"found the shape {tuple(given.shape)}; expected {order} with 1, 3 or 4 channels")
    if pixels.is_floating_point():
        if not bool(((pixels >= 0) & (pixels <= 1)).all()):  # so nan is refused too
            raise UserError("found floats that are not from 0 to 1; white is 1, or 255 in uint8")
        pixels = (pixels.double() * 255).round().to(torch.uint8)
    if pixels.dtype is not torch.uint8:
        raise UserError(f"found {pixels.dtype}; expected uint8, or floats from 0 to 1")
    return rgb_of(pixels)


def _grey(picture: Tensor) -> Tensor:
    """RGB, uint8 (3, H, W) -> (1, H, W), to the bit as Pillow does it (ITU-R 601)."""
    red, green, blue = picture.int()
    return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).to(torch.uint8).unsqueeze(0)
