"""Find and decode picture files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy
import torch
from torch import Tensor

from utils.errors import UserError

DECODED_BY_TORCHVISION = (".jpg", ".jpeg", ".png", ".webp")
DECODED_BY_PILLOW = (".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")


def class_folders(root: Path) -> list[str]:
    """The names of the folders in `root`, hidden ones left out, sorted."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))


def find_pictures(root: Path, classes: list[str]) -> tuple[list[str], list[int]]:
    """The picture files below each class folder: (paths relative to `root`, sorted within a class; class numbers).

    Hidden files, and files whose name does not end like a picture's, are left out. UserError for a class without any.
    """
    files, targets, empty = [], [], []
    for number, name in enumerate(classes):
        found = sorted(_pictures_below(root, name))
        files += found
        targets += [number] * len(found)
        if not found:
            empty.append(name)
    if empty:
        endings = " ".join(DECODED_BY_TORCHVISION + DECODED_BY_PILLOW)
        raise UserError(
            f"'{root}': no pictures in the class folder{'s' if len(empty) > 1 else ''} {', '.join(empty)} "
            f"(pictures end in {endings})"
        )
    return files, targets


def _pictures_below(root: Path, folder: str) -> list[str]:
    found = []
    for parent, folders, names in os.walk(root / folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        relative = os.path.relpath(parent, root)
        for name in names:
            ending = os.path.splitext(name)[1].lower()
            is_picture = ending in DECODED_BY_TORCHVISION or ending in DECODED_BY_PILLOW
            if is_picture and not name.startswith("."):
                found.append(os.path.join(relative, name))
    return found


def read_picture(path: Path, size: tuple[int, int] | None) -> Tensor:
    """Decode one picture to RGB, uint8 (3, H, W), turned upright as its EXIF data say and resized to `size` (H, W).

    Raises OSError when the file cannot be read or is no picture.
    """
    from torchvision import io
    from torchvision.transforms.v2 import functional

    # torchvision's decoders take half of Pillow's time, but may go (deprecated since 0.29); Pillow reads the same ones.
    if path.suffix.lower() in DECODED_BY_TORCHVISION and hasattr(io, "decode_image"):
        try:
            data = io.read_file(str(path))
            picture = io.decode_image(data, mode=io.ImageReadMode.RGB, apply_exif_orientation=True)
        except RuntimeError as error:  # "decode_jpeg, <a place in its source>:171, Image is incomplete"
            raise OSError(re.sub(r"^\w+, \S+:\d+, ", "", str(error))) from error
        if picture.dtype != torch.uint8:  # PNG files may hold 16 bits a channel
            picture = functional.to_dtype(picture, torch.uint8, scale=True)
    else:
        from PIL import Image, ImageOps

        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
        if upright.mode in ("I", "F"):
            raise OSError("it holds 32 bits a pixel, and does not say which number is white; save it with 8 or 16")
        if upright.mode.startswith("I;16"):  # convert("RGB") would cut all above 255 off
            upright = Image.fromarray((numpy.asarray(upright, dtype=numpy.uint16) >> 8).astype(numpy.uint8))
        picture = functional.pil_to_tensor(upright.convert("RGB"))
    if size is not None and picture.shape[1:] != size:
        picture = functional.resize(picture, list(size), antialias=True)
    return picture.contiguous()
