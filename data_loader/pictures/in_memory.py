"""Sets of pictures of one size, held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from data_loader.in_memory import InMemoryDataset
from data_loader.pictures.decoding import ENDINGS, Resize


class PicturesInMemory(InMemoryDataset):
    """Inputs uint8 (N, C, H, W); shape: (C, H, W) with 1 or 3 channels, to which new pictures are brought."""

    shape: tuple[int, int, int]
    input_endings = ENDINGS

    @classmethod
    def for_inputs(cls, inputs: Sequence[Any], preprocessing: None, resize: Resize | None = None) -> Dataset:
        """Pictures without targets, of this size or, where one says how, resized to it; see PictureInputs."""
        from data_loader.pictures.inputs import PictureInputs

        channels, *size = cls.shape
        return PictureInputs(inputs, channels, tuple(size), resize)
