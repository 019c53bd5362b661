"""Made-up pictures of shapes, with the class of each pixel, or with the kinds that are in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from base import DATASETS, Count
from data_loader.in_memory import InMemoryDataset
from data_loader.pictures.decoding import ENDINGS, Resize
from utils.seeding import seeded_generator

CLASSES = ("ground", "disc", "square", "triangle")
MOST_SHAPES = 4  # in a picture


@DATASETS.register
class Shapes(InMemoryDataset):
    """Discs, squares and triangles before a noisy ground: uint8 (3, side, side), targets int64 (side, side).

    A picture has one to four, of any size, colour and angle; the later lies before the earlier. size: pictures of the
    training part; the validation and the test part have a fifth as many. Each is a function of its number.
    """

    def __init__(self, split: str, size: Count = 1000, side: Count = 48, noise: Count = 30, seed: int = 0):
        num_pictures = size if split == "train" else max(1, size // 5)
        made = [_picture(side, noise, seeded_generator("shapes", split, seed, i)) for i in range(num_pictures)]
        super().__init__(
            torch.stack([picture for picture, _ in made]), torch.stack([mask for _, mask in made]), [*CLASSES]
        )


@DATASETS.register
class ShapeKinds(Shapes):
    """The same pictures, and which of the kinds are in each: float32 (N, 3) of 0 and 1, for disc, square, triangle.

    A shape that lies wholly behind others, or beyond the borders, is not in the picture.
    """

    input_endings = ENDINGS

    def __init__(self, split: str, size: Count = 1000, side: Count = 48, noise: Count = 30, seed: int = 0):
        super().__init__(split, size, side, noise, seed)
        masks = self.targets.flatten(1)
        kinds = range(1, len(CLASSES))
        self.targets = torch.stack([(masks == kind).any(dim=1) for kind in kinds], dim=1).float()
        self.classes = [*CLASSES[1:]]

    @classmethod
    def for_inputs(
        cls, inputs: Sequence[Any], preprocessing: None, side: Count = 48, resize: Resize | None = None
    ) -> Dataset:
        """Pictures without targets, of this size or, where one says how, resized to it; see PictureInputs."""
        from data_loader.pictures.inputs import PictureInputs

        return PictureInputs(inputs, 3, (side, side), resize)


def _picture(side: int, noise: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A picture, uint8 (3, side, side), and the class of each pixel, int64 (side, side)."""
    picture = torch.rand(3, 1, 1, generator=generator).expand(3, side, side) * 255
    mask = torch.zeros(side, side, dtype=torch.int64)
    for _ in range(int(torch.randint(1, MOST_SHAPES + 1, (), generator=generator))):
        number = int(torch.randint(1, len(CLASSES), (), generator=generator))
        is_in = shape(CLASSES[number], side, generator)
        picture = torch.where(is_in, torch.rand(3, 1, 1, generator=generator) * 255, picture)
        mask[is_in] = number
    picture = picture + noise * torch.randn(picture.shape, generator=generator)
    return picture.clamp(0, 255).to(torch.uint8), mask


def shape(name: str, side: int, generator: torch.Generator) -> Tensor:
    """Which pixels a shape of a random size, place and angle covers, bool (side, side)."""
    size, x, y, turn = torch.rand(4, generator=generator).tolist()
    radius, angle = side * (0.1 + 0.12 * size), 2 * math.pi * turn
    across = torch.arange(side) - side * x
    down = torch.arange(side)[:, None] - side * y
    if name == "disc":
        return across.square() + down.square() <= radius**2
    num_sides = {"square": 4, "triangle": 3}[name]
    turns = [angle + 2 * math.pi * k / num_sides for k in range(num_sides)]
    inner = radius * math.cos(math.pi / num_sides)  # of the circle within it; its corners lie on the outer one
    return torch.stack([across * math.cos(each) + down * math.sin(each) <= inner for each in turns]).all(dim=0)
