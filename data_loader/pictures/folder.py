"""Own pictures, in one folder a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import Tensor
from torch.utils.data import Dataset

from base import DATASETS
from data_loader.folder_parts import Division, find_part
from data_loader.folds import Fold
from data_loader.pictures.cache import CachedPictures, PictureFiles, decode_all, open_cache
from data_loader.pictures.decoding import ENDINGS, PICTURES, Resize, read_picture
from data_loader.splitting import Amount
from utils.errors import UserError


@DATASETS.register
class ImageFolder(Dataset):
    """Pictures in class folders, as RGB: inputs uint8 (3, H, W), targets class numbers by the folders' sorted names.

    root: holds train/, valid/ (or val/, validation/) and test/, in any case, with class folders in them; or class
        folders only, which are then divided by split_seed into test_fraction, valid_fraction of what is left, and the
        rest. Where there is train/ but no valid/, valid_fraction of train/ are the validation part. A fraction may be a
        number of pictures; null: a tenth.
    size: resize all pictures to this height and width; null: as they are.
    resize: how: stretch: each side by itself (also where it is null); crop: until the picture covers `size`, of which
        the middle is cut out; pad: until it fits, in the middle, and black around it.
    group: a regular expression with one group in parentheses, such as `patient(\\d+)`, searched for in each path below
        root (train/CLASS/FILE): pictures for which it gives the same stay in one part, where a folder is divided.
    cache: null: decode pictures when they are needed; ram: decode all at the start; disk: decode all once, into a file
        in cache_folder (default: root/.cache) that later runs use as long as the pictures stay the same.

    16 bits are scaled to 8, as are floats from 0 to 1; what is transparent shows white; of several frames the first is
    taken. The classes are those of the training part, also where valid/ or test/ lack some; a checkpoint has them, with
    size and resize, as its preprocessing. test_fold: the test part of the training pictures, in place of others.
    """

    draws_random_numbers = False
    input_endings = ENDINGS

    def __init__(
        self,
        split: str,
        root: str,
        size: int | tuple[int, int] | None = None,
        resize: Resize | None = None,
        valid_fraction: Amount | None = None,
        test_fraction: Amount | None = None,
        split_seed: int = 0,
        group: str | None = None,
        cache: Literal["ram", "disk"] | None = None,
        cache_folder: str | None = None,
        preprocessing: dict[str, Any] | None = None,
        test_fold: Fold | None = None,
    ):
        self.size, self.resize = _size_of(size, resize, preprocessing)
        classes = preprocessing and preprocessing["classes"]
        division = Division(valid_fraction, test_fold or test_fraction, split_seed, group)
        part = find_part(PICTURES, split, root, division, classes)
        self.root, self.classes, self.files, self.names = part.folder, part.found.classes, part.files, part.names
        self.targets, self.groups, self.part_sizes, self.notes = part.targets, part.groups, part.sizes, part.notes
        self.preprocessing = {"classes": self.classes, "size": self.size and [*self.size], "resize": self.resize}

        self._cached: CachedPictures | None = None
        self._rows: Tensor | None = None  # those of this part in the cache; None: all
        if cache == "ram":
            self._cached = decode_all(PictureFiles(self.root, self.files, self.size, self.resize))
        elif cache == "disk":
            folder = Path(cache_folder or Path(root, ".cache")).expanduser()
            self._cached = open_cache(folder, PictureFiles(self.root, part.found.files, self.size, self.resize))
            self._rows = part.chosen
        self.notes += [] if self._cached is None else self._cached.notes

    @classmethod
    def for_inputs(cls, inputs: Sequence[Any], preprocessing: dict[str, Any]) -> Dataset:
        """Pictures without targets, in the size of the training; see PictureInputs."""
        from data_loader.pictures.inputs import PictureInputs

        size = preprocessing["size"]
        return PictureInputs(inputs, size=size and tuple(size), resize=preprocessing["resize"])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if self._cached is None:
            return read_picture(self.root / self.files[index], self.size, self.resize), self.targets[index]
        return self._cached[index if self._rows is None else int(self._rows[index])], self.targets[index]

    @property
    def __getitems__(self) -> Callable[[Tensor], tuple[Tensor, Tensor]] | None:
        """What takes a whole batch by index; None without a cache, where pictures are read one by one."""
        return None if self._cached is None else self._take_batch

    def _take_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        rows = indices if self._rows is None else self._rows.index_select(0, indices)
        return self._cached.take(rows), self.targets.index_select(0, indices)

    def as_tensors(self) -> tuple[Tensor, Tensor] | None:
        """Pictures and targets where all are in memory, as with `cache: ram` where all are readable."""
        if self._cached is None or self._rows is not None or self._cached.unreadable:
            return None
        return self._cached.pictures, self.targets

    def name_of(self, index: int) -> str:
        return str(self.root / self.files[index])


def _size_of(
    size: int | tuple[int, int] | None, resize: Resize | None, preprocessing: dict[str, Any] | None
) -> tuple[tuple[int, int] | None, Resize]:
    """Height and width, and how they are come to: as a checkpoint has them, where there is one.

    UserError where the arguments say otherwise.
    """
    if isinstance(size, int):
        size = (size, size)
    if size is not None and min(size) < 1:
        raise UserError(f"dataset.args.size: found {size}; expected a height and width of at least 1")
    if preprocessing is None:
        if resize is not None and size is None:
            raise UserError(f"dataset.args.resize: found {resize}, but without dataset.args.size nothing is resized")
        return size and tuple(size), resize or "stretch"
    trained = preprocessing["size"] and tuple(preprocessing["size"]), preprocessing["resize"]
    for key, value, expected in (("size", size and tuple(size), trained[0]), ("resize", resize, trained[1])):
        if value is not None and value != expected:
            shown = "null (pictures as they are)" if expected is None else expected
            raise UserError(f"dataset.args.{key}: found {value}, but the model was trained with {shown}; leave it out")
    return trained
