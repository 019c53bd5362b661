"""Transforms of one sample in a row, with messages that name the one that fails."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Callable
from typing import Any

import numpy
from torch import Tensor

from base import TRANSFORMS
from config.schema import ComponentConfig
from utils.errors import UserError

LIBRARIES = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def build_transforms(components: list[ComponentConfig]) -> SampleTransforms | None:
    """The transforms of one sample in a row; None when there are none."""
    steps = [(component.type, TRANSFORMS.build(component.type, component.args)) for component in components]
    return SampleTransforms(steps) if steps else None


class SampleTransforms:
    """Each step gets what the one before it returned. UserError where a library's refuses, or one returns nothing."""

    def __init__(self, steps: list[tuple[str, Callable[[Any], Any]]]):
        self.steps = steps

    def __call__(self, value: Any) -> Any:
        for name, step in self.steps:
            try:
                result = step(value)
            except Exception as error:
                if has_own_code(error):
                    raise
                raise UserError(f"transform {name} cannot take {_described(value)}: {error}{_remedy(value)}") from error
            if result is None:
                raise UserError(f"transform {name} returned nothing: end it with `return`")
            if (
                result is value
                and isinstance(value, numpy.ndarray)
                and type(step).__module__.startswith("torchvision.")
            ):
                raise UserError(
                    f"transform {name} of torchvision passes over arrays of numpy: return tensors (C, H, W) from the "
                    "dataset, or put ToImage first, which takes (H, W, C)"
                )
            value = result
        return value


def has_own_code(error: Exception) -> bool:
    """Whether code between this package and where the error was raised is neither Python's nor a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    outer = (__file__, __file__.replace("transforms.py", "samples.py"))
    return any(frame.filename not in outer and not frame.filename.startswith(LIBRARIES) for frame in frames)


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {str(value.dtype).removeprefix('torch.')}, {tuple(value.shape)}"
    return f"a value of type {type(value).__name__}"


def _remedy(value: Any) -> str:
    if not isinstance(value, Tensor) or value.is_floating_point():
        return ""
    return (
        "\nPictures come as uint8; before it, {type: ToDtype, args: {dtype: float32, scale: true}} makes them floats."
    )
