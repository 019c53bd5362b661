"""Transforms of one sample in a row, with messages that name the one that fails."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy
from torch import Tensor

from base import TRANSFORMS
from base.batch import TARGET_KEYS, map_tensors
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
            is_of_torchvision = type(step).__module__.startswith("torchvision.")
            if is_of_torchvision and not isinstance(value, Tensor) and not holds_tv_tensors(value):
                check_pictures(value, value)
            try:
                result = step(value)
            except Exception as error:
                if has_own_code(error):
                    raise
                raise UserError(f"transform {name} cannot take {_described(value)}: {error}{_remedy(value)}") from error
            if result is None:
                raise UserError(f"transform {name} returned nothing: end it with `return`")
            if result is value and isinstance(value, numpy.ndarray) and is_of_torchvision:
                raise UserError(
                    f"transform {name} of torchvision passes over arrays of numpy: return tensors (C, H, W) from the "
                    "dataset, or put ToImage first, which takes (H, W, C)"
                )
            value = result
        return value


def transformed(sample: Any, transform: Callable) -> Any:
    """Transform the first item of a tuple, the first value of a dict but its target, or a sample that is all input.

    A sample with torchvision's tv_tensors in it is transformed as one: masks and boxes move with their picture.
    UserError where a picture would be left as it is.
    """
    is_input = not isinstance(sample, (Mapping, tuple, list))
    if is_input or holds_tv_tensors(sample):
        if not is_input:
            check_pictures(_inputs_of(sample), sample)
        result = map_tensors(transform(sample), lambda tensor: tensor.as_subclass(Tensor))
        return (result,) if is_input and isinstance(result, (tuple, list)) else result  # views of it: all of them input
    inputs = _inputs_of(sample)
    if not inputs:
        return sample
    name = next(iter(inputs)) if isinstance(sample, Mapping) else 0
    if len(inputs) > 1:
        check_pictures(inputs, sample[name])
    if isinstance(sample, Mapping):
        return {**sample, name: transform(sample[name])}
    if hasattr(sample, "_fields"):
        return sample._replace(**{sample._fields[0]: transform(sample[0])})
    return type(sample)((transform(sample[0]), *sample[1:]))


def _inputs_of(sample: Any) -> Any:
    """A dict without its target, a tuple without its last item or, of one item, as it is."""
    if isinstance(sample, Mapping):
        return {name: value for name, value in sample.items() if name not in TARGET_KEYS}
    return sample[:-1] or sample


def check_pictures(inputs: Any, given: Any) -> None:
    """UserError where transforms would leave pictures as they are. inputs: of a sample; given: what transforms get.

    Those of torchvision change the tv_tensors or, where no Image is among them, the first tensor of what they get.
    """
    arrays = [*arrays_in(inputs)]
    sizes = {tuple(array.shape[-2:]) for array in arrays if array.ndim >= 3}
    pictures = [array for array in arrays if tuple(array.shape[-2:]) in sizes]  # a map (H, W) goes with one too
    plain = [array for array in pictures if not is_tv_tensor(array)]
    if not plain:
        return
    kinds = {type(array).__name__ for array in arrays_in(given) if is_tv_tensor(array)}
    first = next((array for array in arrays_in(given) if not is_tv_tensor(array)), None)
    is_passed_over = kinds & {"Image", "Video"} or (kinds and isinstance(first, numpy.ndarray))
    if len(pictures) > 1 or first is not plain[0] or is_passed_over:
        shapes = ", ".join(str(tuple(array.shape)) for array in arrays)
        raise UserError(
            f"dataset.transforms would leave a picture among the inputs {shapes} as it is: return each picture as one "
            "of torchvision's tv_tensors (Image; Mask for a map of classes), which are transformed together, or "
            "transform them in the dataset"
        )


def arrays_in(values: Any) -> Iterator[Any]:
    """The tensors and arrays in tuples, lists and dicts, however nested."""
    if isinstance(values, (Mapping, tuple, list)):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from arrays_in(value)
    elif hasattr(values, "ndim"):
        yield values


def holds_tv_tensors(sample: Any) -> bool:
    """Whether torchvision's tv_tensors (Image, Mask, BoundingBoxes, ...) are among the tensors of a sample."""
    return "torchvision.tv_tensors" in sys.modules and any(map(is_tv_tensor, arrays_in(sample)))


def is_tv_tensor(tensor: Any) -> bool:
    return type(tensor).__module__.startswith("torchvision.tv_tensors")


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
