"""Which pictures lie where: the folders of the parts and of the classes, the files in them, and what is left out."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, NoReturn

from config.problems import nearest
from data_loader.pictures import ENDINGS, OTHER_ENDINGS, is_decoded
from utils.errors import UserError

PART_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
PASSED_OVER = {"__macosx", "thumbs.db", "desktop.ini"}  # what systems leave behind, beside hidden files
SHOWN = 10


class Pictures(NamedTuple):
    """The pictures in class folders: by class, then by name."""

    files: list[str]  # paths relative to the folder, with /
    names: list[str]  # the same in the letters that every system writes alike
    targets: list[int]
    notes: list[str]  # what is left out


def part_folders(root: Path) -> dict[str, Path]:
    """The folders of the parts in `root` by their split, in any case. UserError for two of one part."""
    found: dict[str, Path] = {}
    for name in _entries(root)[0]:
        split = PART_FOLDERS.get(name.casefold())
        if split in found:
            raise UserError(f"'{root}': both {found[split].name}/ and {name}/ are its {split} part; keep one of them")
        if split:
            found[split] = root / name
    return found


def class_folders(folder: Path) -> dict[str, str]:
    """The classes of the folders in `folder`, sorted, and what those are called on the disk.

    Classes are compared in NFC: macOS writes an umlaut as two letters, and so do the archives that come from there.
    """
    found: dict[str, str] = {}
    for name in _entries(folder)[0]:
        if (other := found.setdefault(composed(name), name)) != name:
            raise UserError(f"'{folder}': two class folders are called {other}, in other bytes; move them into one")
    return dict(sorted(found.items()))


def find_pictures(folder: Path, classes: list[str], *, may_lack: bool) -> Pictures:
    """The pictures below the class folders of `folder`, numbered by their places in `classes`.

    may_lack: some classes, but not all. UserError where a class folder is none of the classes, or a class has nothing.
    """
    folders = class_folders(folder)
    if not folders:
        raise UserError(f"'{folder}': no class folders; pictures are expected as {folder}/CLASS/PICTURE.jpg")
    refuse_unknown(folder, folders, classes)
    files, names, targets, empty = [], [], [], []
    others = _entries(folder)[1]
    for number, name in enumerate(classes):
        found = _pictures_below(folder, folders[name], others) if name in folders else []
        found.sort(key=composed)
        files += found
        names += map(composed, found)
        targets += [number] * len(found)
        if not found:
            empty.append(name)
    notes = left_out(folder, others)
    if empty and not (may_lack and files):
        told = f"no pictures in the class folder{'s' if len(empty) > 1 else ''} {shown(empty)}"
        raise UserError("\n".join([f"'{folder}': {told} (pictures end in {' '.join(ENDINGS)})", *notes]))
    if empty:
        notes.append(f"'{folder}': no pictures of the class{'es' if len(empty) > 1 else ''} {shown(empty)}")
    return Pictures(files, names, targets, notes)


def count_pictures(folder: Path) -> int:
    """How many pictures lie below the class folders of `folder`, whatever their classes."""
    return sum(len(_pictures_below(folder, name, [])) for name in class_folders(folder).values())


def loose_files(root: Path) -> list[str]:
    """What to say of the files and folders beside the folders of the parts."""
    folders, files = _entries(root)
    others = [f"{name}/" for name in folders if name.casefold() not in PART_FOLDERS]
    beside = [f"'{root}': left out, beside the folders of the parts: {shown(others)}"] if others else []
    return left_out(root, files) + beside


def left_out(folder: Path, files: list[str]) -> list[str]:
    """What to say of files that are not read; those that lie where no class is may be pictures."""
    by_kind: dict[str, list[str]] = {}
    for file in sorted(files):
        ending = os.path.splitext(file)[1].lower()
        if is_decoded(ending):
            kind = "pictures that lie in no class folder"
        elif ending in OTHER_ENDINGS:
            kind = f"pictures of a kind that cannot be decoded here; save them as PNG or JPEG ({ending})"
        else:
            kind = "files that are no pictures"
        by_kind.setdefault(kind, []).append(file)
    return [f"'{folder}': left out, {len(files)} {kind}: {shown(files)}" for kind, files in by_kind.items()]


def shown(texts: Iterable[str]) -> str:
    """`a, b, c`: the first ten, and how many more."""
    texts = list(texts)
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def refuse_unknown(folder: Path, folders: dict[str, str], classes: list[str]) -> None:
    """UserError for class folders that are none of the classes: they have no number."""
    known = set(classes)
    unknown = [name for name in folders if name not in known]
    if unknown:
        near = {name: nearest(name, classes) for name in unknown}
        told = shown(f"{name} (did you mean {near[name][0]}?)" if near[name] else name for name in unknown)
        raise UserError(
            f"'{folder}' has class folders that are none of the {len(classes)} classes trained on: {told}\n"
            f"The classes: {shown(classes)}"
        )


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the folders and of the files in a folder, each sorted, without what is passed over."""
    try:
        with os.scandir(folder) as entries:
            seen = [(entry.name, entry.is_dir()) for entry in entries if not _is_passed_over(entry.name)]
    except OSError as error:
        _cannot_read(error)
    return sorted(name for name, is_dir in seen if is_dir), sorted(name for name, is_dir in seen if not is_dir)


def _pictures_below(folder: Path, class_folder: str, others: list[str]) -> list[str]:
    """The pictures below a class folder, relative to `folder`; what else is found is added to `others`."""
    found = []
    for parent, folders, names in os.walk(folder / class_folder, onerror=_cannot_read, followlinks=True):
        folders[:] = [name for name in folders if not _is_passed_over(name)]
        relative = os.path.relpath(parent, folder).replace(os.sep, "/")
        for name in names:
            if is_decoded(os.path.splitext(name)[1].lower()):
                if not name.startswith("."):
                    found.append(f"{relative}/{name}")
            elif not _is_passed_over(name):
                others.append(f"{relative}/{name}")
    return found


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name.casefold() in PASSED_OVER


def composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _cannot_read(error: OSError) -> NoReturn:
    raise UserError(f"cannot read the folder '{error.filename}': {error.strerror}") from error
