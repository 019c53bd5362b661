"""Decode a picture file, whatever it holds, to RGB with 8 bits a channel."""

from __future__ import annotations

import functools
import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy
import torch
from torch import Tensor

from data_loader.class_folders import FileKind

if TYPE_CHECKING:
    from PIL.Image import Image

Resize = Literal["stretch", "crop", "pad"]

ENDINGS = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
OTHER_ENDINGS = {  # of pictures that are not decoded here
    ".arw", ".avif", ".cr2", ".cr3", ".dcm", ".dng", ".exr", ".hdr", ".heic", ".heif", ".hif", ".ico", ".j2k", ".jp2",
    ".jxl", ".nef", ".orf", ".pbm", ".pfm", ".pnm", ".psd", ".raf", ".raw", ".rw2", ".svg", ".tga", ".xcf",
}  # fmt: skip


@functools.cache
def is_decoded(ending: str) -> bool:
    """Whether files that end so (`.jpg`) are pictures that are decoded here."""
    if ending == ".avif":  # Pillow has it since 11.3, where it was built with it
        from PIL import Image

        return ending in Image.registered_extensions()
    return ending in ENDINGS


PICTURES = FileKind("pictures", ENDINGS, is_decoded, OTHER_ENDINGS, "save them as PNG or JPEG")


def read_picture(path: Path, size: tuple[int, int] | None, resize: Resize = "stretch") -> Tensor:
    """Decode one picture to RGB, uint8 (3, H, W), turned upright as its EXIF data say and resized to `size` (H, W).

    More than 8 bits are scaled by their type: 0 is black, the largest whole number white; of floats 1 is white; of 16
    bits in colour the upper 8 are taken. What is transparent shows white behind it. Of several frames or pages the
    first is taken.

    resize: stretch: each side by itself; crop: until the picture covers `size`, of which the middle is cut out; pad:
    until it fits into `size`, in the middle, and black around it.

    Raises OSError when the file cannot be read, is no picture, or does not say which number is white.
    """
    data = bytearray(path.read_bytes())
    picture = _decode_by_torchvision(data)
    if picture is None:
        picture = _decode_by_pillow(data)
    picture = rgb_of(picture)
    return (picture if size is None else resized(picture, size, resize)).contiguous()


def _decode_by_torchvision(data: bytearray) -> Tensor | None:
    """JPEG and WebP as uint8 (3 or 4, H, W); None for what is left to Pillow.

    So are PNGs: a damaged one ends the process here, and to find that out takes longer than Pillow does.
    """
    from torchvision import io

    if data.startswith(b"\xff\xd8\xff"):
        mode = io.ImageReadMode.RGB
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP" and not _is_animated_webp(data):
        mode = io.ImageReadMode.UNCHANGED  # it has no pictures in grey
    else:
        return None
    if not hasattr(io, "decode_image"):  # it is deprecated since 0.29
        return None
    try:
        return io.decode_image(torch.frombuffer(data, dtype=torch.uint8), mode=mode, apply_exif_orientation=True)
    except RuntimeError as error:  # "decode_jpeg, <a place in its source>:171, Image is incomplete"
        raise OSError(re.sub(r"^\S+, \S+:\d+, ", "", str(error))) from error


def _is_animated_webp(data: bytearray) -> bool:
    return data[12:16] == b"VP8X" and len(data) > 20 and bool(data[20] & 2)


def _decode_by_pillow(data: bytearray) -> Tensor:
    """Any picture as uint8 (3 or 4, H, W)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(BytesIO(data)) as picture:
            return _pixels_of(picture)
    except UnidentifiedImageError as error:  # which names a place in memory
        raise OSError("it is empty, no picture, or one of a kind that cannot be decoded here") from error
    except (OSError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders let through whatever they trip over in a damaged file
        raise OSError(f"{type(error).__name__}: {error}") from error


def rgb_of_pillow(picture: Image) -> Tensor:
    """The pixels of an open picture, which is turned upright, as `read_picture` gives them. OSError as there."""
    return rgb_of(_pixels_of(picture))


def _pixels_of(picture: Image) -> Tensor:
    from PIL import Image, ImageOps

    ImageOps.exif_transpose(picture, in_place=True)
    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(_eight_bits(picture))
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    pixels = numpy.array(picture if picture.mode == mode else picture.convert(mode))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _eight_bits(picture: Image) -> numpy.ndarray:
    """A picture of one channel with 12, 16 or 32 bits as uint8 (H, W). OSError where white is not known."""
    values = numpy.asarray(picture)
    if picture.mode == "F":
        if not (values.min() >= 0 and values.max() <= 1):  # so nan is refused too
            raise OSError(
                f"it holds floats from {values.min():g} to {values.max():g}, and does not say which one is white; save "
                "it with floats from 0 to 1, or with 8 or 16 bits"
            )
        return _to_uint8(values, 1)
    if picture.mode == "I" and picture.format not in ("PNG", "PPM"):  # of which Pillow makes 0 to 65535
        raise OSError(
            "it holds whole numbers with a sign or with 32 bits, and does not say which one is white; save it with 8 "
            "or 16 bits without a sign, or with floats from 0 to 1"
        )
    tags = getattr(picture, "tag_v2", {})  # of a TIFF file
    white = 2 ** tags.get(258, (16,))[0] - 1  # bits a sample: 12 or 16
    is_inverted = tags.get(262) == 0  # white is zero
    return _to_uint8(white - values if is_inverted else values, white)


def _to_uint8(values: numpy.ndarray, white: int) -> numpy.ndarray:
    return numpy.rint(values * numpy.float64(255 / white)).astype(numpy.uint8)


def rgb_of(picture: Tensor) -> Tensor:
    """uint8 (1, 3 or 4, H, W): grey, RGB, or RGB with alpha before a white background -> (3, H, W)."""
    if len(picture) == 1:
        return picture.expand(3, -1, -1)
    if len(picture) == 3:
        return picture
    picture = picture.int()
    colours, alpha = picture[:3], picture[3:]
    return ((colours * alpha + 255 * (255 - alpha) + 127) // 255).to(torch.uint8)


def resized(picture: Tensor, size: tuple[int, int], resize: Resize) -> Tensor:
    """A picture, uint8 (3, H, W), brought to `size` (H, W), as `read_picture` does it."""
    from torchvision.transforms.v2 import functional

    height, width = picture.shape[1:]
    if (height, width) == size:
        return picture
    if resize == "stretch":
        return functional.resize(picture, list(size), antialias=True)
    is_taller = height * size[1] >= size[0] * width
    by_width = is_taller == (resize == "crop")
    shape = (size[1] * height // width, size[1]) if by_width else (size[0], size[0] * width // height)
    resized = functional.resize(picture, [max(1, side) for side in shape], antialias=True)
    return functional.center_crop(resized, list(size))  # which also pads with zeros
