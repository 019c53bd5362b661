"""Own pictures, in one folder a class."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from torch import Tensor
from torch.utils.data import Dataset

from base import DATASETS
from data_loader.in_memory import class_targets
from data_loader.picture_cache import decode_all, open_cache
from data_loader.pictures import class_folders, find_pictures, read_picture
from data_loader.splitting import divide
from utils.errors import UserError

PART_FOLDERS = {"train": ("train",), "valid": ("valid", "val", "validation"), "test": ("test",)}


@DATASETS.register
class ImageFolder(Dataset):
    """Pictures in class folders, as RGB: inputs uint8 (3, H, W), targets class numbers by the folders' sorted names.

    root: holds train/, valid/ (or val/) and test/ with class folders in them; or class folders only, which are then
        divided by split_seed into test_fraction, valid_fraction of what is left, and the rest. Where there is
        train/ but no valid/, valid_fraction of train/ are the validation part.
    size: resize all pictures to this height and width; null: as they are.
    cache: null: decode pictures when they are needed; ram: decode all at the start; disk: decode all once, into a file
        in cache_folder (default: root/.cache) that later runs use as long as the pictures stay the same.
    """

    draws_random_numbers = False

    def __init__(
        self,
        split: str,
        root: str,
        size: int | tuple[int, int] | None = None,
        valid_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        cache: Literal["ram", "disk"] | None = None,
        cache_folder: str | None = None,
    ):
        self.size = (size, size) if isinstance(size, int) else size
        if self.size and min(self.size) < 1:
            raise UserError(f"dataset.args.size: found {size}; expected a height and width of at least 1")
        self.root, part_of = _locate(Path(root), split)
        self.classes = class_folders(self.root)
        if not self.classes:
            raise UserError(f"'{self.root}': no class folders; pictures are expected as {self.root}/CLASS/PICTURE.jpg")
        files, targets = find_pictures(self.root, self.classes)
        _check_same_classes(Path(root), self.root, self.classes)

        fractions = {"whole": (0, 0), "train": (valid_fraction, 0), "all": (valid_fraction, test_fraction)}[part_of]
        parts = divide(files, *fractions, split_seed, class_targets(targets))
        part = parts["train" if part_of == "whole" else split]
        self.files = [files[index] for index in part]
        self.targets = class_targets(targets)[part]

        self.pictures: Tensor | None = None
        if cache == "ram":
            self.pictures, self.rows = decode_all(self.root, self.files, self.size), None
        elif cache == "disk":
            folder = Path(cache_folder) if cache_folder else Path(root) / ".cache"
            self.pictures, self.rows = open_cache(folder, self.root, files, self.size), part

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if self.pictures is None:
            return read_picture(self.root / self.files[index], self.size), self.targets[index]
        return self.pictures[index if self.rows is None else self.rows[index]], self.targets[index]

    @property
    def __getitems__(self) -> Callable[[Tensor], tuple[Tensor, Tensor]] | None:
        """What takes a whole batch by index; None without a cache, where pictures are read one by one."""
        return None if self.pictures is None else self._take_batch

    def _take_batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        rows = indices if self.rows is None else self.rows.index_select(0, indices)
        return self.pictures.index_select(0, rows), self.targets.index_select(0, indices)

    def as_tensors(self) -> tuple[Tensor, Tensor] | None:
        """Pictures and targets where all are in memory, as with `cache: ram`."""
        return None if self.pictures is None or self.rows is not None else (self.pictures, self.targets)

    def name_of(self, index: int) -> str:
        return str(self.root / self.files[index])


def _locate(root: Path, split: str) -> tuple[Path, str]:
    """The folder of class folders that holds a split, and what else it holds: 'whole', 'train' or 'all' splits."""
    if not root.is_dir():
        raise UserError(f"dataset.args.root: no such folder: '{root}'")
    if not (root / "train").is_dir():
        return root, "all"
    found = {name: next((root / folder for folder in folders if (root / folder).is_dir()), None)
             for name, folders in PART_FOLDERS.items()}  # fmt: skip
    if found[split] is None and split == "test":
        raise UserError(f"'{root}' has a folder train/ but no test/: put the test pictures there")
    if found["valid"] is None and split != "test":
        return found["train"], "train"
    return found[split], "whole"


def _check_same_classes(root: Path, folder: Path, classes: list[str]) -> None:
    """UserError where a part has other class folders than train/, because the class numbers would differ."""
    if folder == root:
        return
    expected = class_folders(root / "train")
    if classes != expected:
        missing = ", ".join(sorted(set(expected) - set(classes))) or "none"
        extra = ", ".join(sorted(set(classes) - set(expected))) or "none"
        raise UserError(
            f"'{folder}' and '{root / 'train'}' need the same class folders; missing: {missing}; too many: {extra}"
        )
