"""What real components of the libraries accept, and what becomes of plain values on their way to them."""

# ruff: noqa: UP007, UP045 (libraries still write Union and Optional)

import dataclasses
import enum
import inspect
import math
import pathlib
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NewType, NotRequired, Optional, Protocol, TypeVar, Union

import kornia.augmentation as kornia
import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torchmetrics import F1Score, MeanMetric
from torchmetrics.classification import BinaryAccuracy, MulticlassF1Score
from torchvision import models
from torchvision.transforms import v2

from base import BATCH_TRANSFORMS, MODELS, REGISTRIES, TRANSFORMS
from base.conversion import convert, mismatch
from base.signature import Count, Share, parameters_of


def names_of(component):
    """The arguments that a component takes, and those that it needs."""
    by_name = parameters_of(component).by_name
    return set(by_name), {name for name, parameter in by_name.items() if parameter.required}


# A component of a library, arguments that it takes, and those that it needs.
COMPONENTS = [
    (torch.optim.AdamW, "params lr betas eps weight_decay amsgrad fused", "params"),
    (torch.optim.lr_scheduler.OneCycleLR, "total_steps pct_start", "optimizer max_lr"),
    (BinaryAccuracy, "threshold zero_division", ""),
    (nn.CrossEntropyLoss, "weight label_smoothing ignore_index", ""),
    (nn.functional.cross_entropy, "weight label_smoothing ignore_index", "input target"),
    (v2.RandomCrop, "size padding", "size"),
    (kornia.RandomAffine, "p keepdim same_on_batch", "degrees"),
    # A builder leads to the class that it returns; what it gives to that itself, such as block and layers, is left out.
    (models.resnet18, "weights progress num_classes zero_init_residual", ""),
    (models.vit_b_16, "image_size num_classes", ""),
    (models.mobilenet_v3_small, "reduced_tail num_classes", ""),
]


@pytest.mark.parametrize(("component", "taken", "needed"), COMPONENTS)
def test_what_a_component_takes(component, taken, needed):
    names, required = names_of(component)
    assert {*taken.split(), *needed.split()} <= names and "num_clases" not in names
    assert required == {*needed.split()}


def test_a_metric_whose_kwargs_end_in_the_base_class():
    popped = set(re.findall(r'kwargs\.pop\(\s*"(\w+)"', inspect.getsource(torchmetrics.Metric.__init__)))
    for metric, needed in ((F1Score, {"task"}), (MeanMetric, set()), (MulticlassF1Score, {"num_classes"})):
        names, required = names_of(metric)
        assert "sync_on_compute" in popped <= names and "averge" not in names
        assert required == needed
        assert not parameters_of(metric).is_open


def test_every_default_of_every_component_fits_its_own_annotation():
    """What a library itself passes must never be refused."""
    checked = 0
    for name, component in (item for registry in REGISTRIES.values() for item in registry._library.items()):
        parameters = parameters_of(component)
        assert not parameters.is_open, name
        for key, parameter in parameters.by_name.items():
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            if not parameter.required and isinstance(default, (bool, int, float, str, list)):
                assert mismatch(default, parameter.annotation) is None, (name, key)
                checked += 1
    assert checked > 1000


class Grandparent:
    def __init__(self, depth: int, width: int = 3, **kwargs):
        self.height = kwargs.pop("height", 1)


class Parent(Grandparent):
    def __init__(self, size: float, **kwargs):
        super().__init__(depth=2, **kwargs)


class Child(Parent): ...


def late(size: "NoSuchName" = 3, sizes: "Iterable[int]" = (), rate: "float" = 1): ...  # noqa: F821


def test_own_classes_and_functions():
    assert names_of(Child) == ({"size", "depth", "width"}, {"size"})
    assert parameters_of(Child).is_open  # what own code makes of its **kwargs is its own business
    assert parameters_of(Child).annotation("unknown") is Any
    # A name that only a type checker knows leaves the others checked; those that all have are known.
    assert parameters_of(late).annotation("size") == "NoSuchName"
    assert mismatch([1], parameters_of(late).annotation("sizes")) is None
    assert mismatch(1, parameters_of(late).annotation("sizes")) == "expected a list of whole numbers"
    assert mismatch("x", parameters_of(late).annotation("rate")) == "expected a number"
    assert parameters_of(nn.Identity).by_name == {}


def test_without_annotations_the_default_gives_a_gentle_hint():
    def function(a, b=True, c=1, d=0.5, e="x", f=None, g=(1, 2)): ...

    # What libraries say in their documentation alone.
    smoothing = parameters_of(nn.CrossEntropyLoss).annotation("label_smoothing")
    assert mismatch(-0.5, smoothing) == "expected a number >= 0 and <= 1" and mismatch(0.5, smoothing) is None
    assert mismatch(0, parameters_of(torch.optim.lr_scheduler.StepLR).annotation("step_size"))
    assert mismatch(0, parameters_of(models.resnet18).annotation("num_classes"))

    hints = {name: parameter.annotation for name, parameter in parameters_of(function).by_name.items()}
    assert mismatch("text", hints["b"]) == "expected true or false or null"
    assert mismatch(2.5, hints["c"]) is None
    assert mismatch("2", hints["d"]) == "expected a number or null"
    assert mismatch(3, hints["e"]) == "expected text or null"
    assert all(mismatch(value, hints[name]) is None for name in "afg" for value in (1, "x", [1], None))


@dataclasses.dataclass
class Size:
    width: int
    names: set[str] = dataclasses.field(default_factory=set)


class Pair(NamedTuple):
    x: int
    y: int = 0


class Options(typing.TypedDict):
    a: int
    b: NotRequired[int]


class Nested(NamedTuple):
    sizes: "list[Size]"


class Speaks(Protocol):
    def speak(self) -> str: ...


class Color(enum.Enum):
    RED = "red"
    GREEN = 2
    VERMILION = "red"


Meters = NewType("Meters", float)
T = TypeVar("T")


@pytest.mark.parametrize(
    ("annotation", "good", "bad", "expected"),
    [
        (bool, [True], [1, "true", None], "true or false"),
        (int, [3], [True, 3.0, "3", None], "a whole number"),
        (float, [3, 0.5], [True, "3", [1.0]], "a number"),
        (str, ["x"], [3, None, True], "text"),
        (None, [None], [0], "null"),
        (Optional[int], [3, None], ["x"], "a whole number or null"),
        (int | str, [3, "x"], [0.5], "a whole number or text"),
        (Union[str, float, None], ["x", 1, None], [[1]], "text or a number or null"),
        (Literal["cos", "linear"], ["cos"], ["cosine", 1], "'cos' or 'linear'"),
        (Literal[1, None], [1, None], [True, "1"], "1 or null"),
        (tuple[float, float], [[0.9, 1]], [[0.9], [1, 2, 3], 0.9, ["a", "b"]], "a list of 2 numbers"),
        (tuple[int, ...], [[], [1, 2]], [[1.5]], "a list of whole numbers"),
        (tuple[int], [[1, 2]], [["x"]], "a list of whole numbers"),
        (tuple, [[1, "x"]], ["x"], "a list"),
        (list[float], [[1, 2.5]], [["x"], 1.0], "a list of numbers"),
        (list, [[1, "x"]], [{}], "a list"),
        (Sequence[str], [["a"]], ["a"], "a list (text each)"),
        (Sequence[T], [["a", 1]], [3], "a list"),
        (dict[str, int], [{"a": 1}], [{"a": "x"}, []], "a mapping"),
        (Mapping, [{}], [[]], "a mapping"),
        (Any, [None, 1, "x", [], {}], [], "any value"),
        (T, [1, "x"], [], "any value"),
        ("NoSuchName", [{}], [], "any value"),
        (Annotated[int, "x"], [1], ["x"], "a whole number"),
        (Meters, [1.5], ["x"], "a number"),
        (Color, ["RED", "green", "red", 2], ["blue", 3], "one of RED, GREEN, VERMILION"),
        (torch.dtype, ["float32", "torch.bfloat16"], ["float33", 32, "nn"], "a dtype such as float32"),
        (torch.device, ["cpu"], [1.5], "a device such as cpu"),
        (pathlib.Path, ["a/b"], [3, None], "a path"),
        (Tensor, [1, 0.5, [1, 2], [[1], [2]]], ["x", [[1], [1, 2]], {}, None], "a number or a list of numbers"),
        (Optional[Tensor], [None, [0.1, 0.9]], ["balanced"], "a number or a list of numbers or null"),
        (Union[float, Tensor], [1], ["x", [1]], "a number"),
        (tuple[float | Tensor, float | Tensor], [[0.9, 1]], [[0.9]], "a list of 2 numbers"),
        (tuple[str, int], [["x", 1]], [["x"]], "a list [text, a whole number]"),
        (set[int], [[1, 1]], [["x"], [[1]], {}], "a list of whole numbers"),
        (
            Size,
            [{"width": 3}, {"width": 3, "names": ["x"]}],
            [{}, {"width": "x"}, {"widht": 3}, [3], 3],
            "a mapping with width, names",
        ),
        (Pair, [[1], [1, 2], {"x": 1}], [[], [1, 2, 3], [1.5], {"z": 1}, 1], "a mapping with x, y"),
        (Options, [{"a": 1}, {"a": 1, "b": 2}], [{}, {"a": "x"}, [1]], "a mapping with a, b"),
        (Speaks, [], ["x", {}], "Speaks (which a config cannot hold: leave it out)"),
        (Grandparent, [], [{}, 3], "Grandparent (which a config cannot hold: leave it out)"),
        (Optional[Count], [1, None], [0, -1], "a whole number >= 1 or null"),
        (Share, [0, 0.5], [2, -1, math.nan], "a number >= 0 and <= 1"),
        (tuple[Count, Count], [[1, 2]], [[0, 1], [8]], "a list of 2 whole numbers >= 1"),
        (nn.Module, [], ["ReLU", {}], "Module (which a config cannot hold: leave it out)"),
        (Callable[..., nn.Module], [], ["relu"], "Callable (which a config cannot hold: leave it out)"),
        (Optional[Callable], [None], ["relu"], "Callable (which a config cannot hold: leave it out) or null"),
        (type[nn.Module], [], ["ReLU"], "type (which a config cannot hold: leave it out)"),
    ],
)
def test_mismatch(annotation, good, bad, expected):
    for value in good:
        assert mismatch(value, annotation) is None
    for value in bad:
        assert mismatch(value, annotation) == f"expected {expected}"


CONVERTED = [
    ([0.9, 0.99], tuple[float, float], (0.9, 0.99)), ([1, 2], Union[int, tuple[int, int]], (1, 2)),
    ([[1, 2], [3, 4]], list[tuple[int, int]], [(1, 2), (3, 4)]), ("float16", torch.dtype, torch.float16),
    ("cpu", torch.device, torch.device("cpu")), ("a/b", pathlib.Path, pathlib.Path("a/b")),
    ("red", Color, Color.RED), ("Green", Color, Color.GREEN),
    ([1, 2], Optional[Tensor], torch.tensor([1.0, 2.0])), (3, Tensor, torch.tensor(3.0)),
]  # fmt: skip
CONVERTED += [
    ([1, 1], set[int], {1}), (["a"], frozenset[str], frozenset("a")), ({"width": 3}, Size, Size(3)),
    ([3], Pair, Pair(3)), ({"y": 2, "x": 1}, Pair, Pair(1, 2)), ({"a": 1}, Options, {"a": 1}),
    ({"sizes": [{"width": 3, "names": ["x"]}]}, Nested, Nested([Size(3, {"x"})])),
]  # fmt: skip
LEFT_ALONE = [  # because it fits or cannot fit
    (0.1, Union[float, Tensor]), ("bilinear", Union[str, Color]), (None, Optional[Tensor]), ([1, 2], Any),
    ("x", "NoSuchName"), ("wrong", Tensor), ([1, 2], Sequence[int]), ({"a": [1]}, dict[str, list[int]]),
    ([0.5], Tensor | tuple[float, ...] | list[float]), (1, float),
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "annotation", "expected"), CONVERTED + [(value, annotation, value) for value, annotation in LEFT_ALONE]
)
def test_convert(value, annotation, expected):
    converted = convert(value, annotation)
    assert repr(converted) == repr(expected) and type(converted) is type(expected)


def test_real_components_are_built_from_plain_values():
    picture = torch.rand(2, 3, 16, 16)
    affine = BATCH_TRANSFORMS.build("RandomAffine", {"degrees": [-10, 10], "translate": [0.1, 0.1], "p": 1.0})
    assert affine(picture).shape == picture.shape
    crop = TRANSFORMS.build("RandomResizedCrop", {"size": [8, 8], "scale": [0.5, 1], "interpolation": "nearest"})
    assert crop(picture).shape[-1] == 8
    assert TRANSFORMS.build("ToDtype", {"dtype": "float16", "scale": True})(picture).dtype == torch.float16
    bytes_ = torch.arange(48, dtype=torch.uint8).reshape(3, 4, 4)
    assert torch.allclose(TRANSFORMS.build("ToTensor", {})(bytes_), bytes_ / 255)
    assert torch.equal(TRANSFORMS.build("ToTensor", {})(picture), picture)
    narrow = {"width_mult": 0.5, "reduced_tail": True, "num_classes": 3}  # which torchvision hides in **kwargs
    assert MODELS.build("mobilenet_v3_small", narrow)(torch.rand(2, 3, 32, 32)).shape == (2, 3)
