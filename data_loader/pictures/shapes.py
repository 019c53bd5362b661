"""Made-up pictures of shapes, and the class of each pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from base import DATASETS, Count
from data_loader.in_memory import InMemoryDataset
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
