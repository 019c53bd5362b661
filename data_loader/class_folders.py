"""Which files lie where: the folders of the parts and of the classes, the files in them, and what is left out."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from config.problems import nearest
from utils.errors import UserError

PART_FOLDERS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
PASSED_OVER = {"__macosx", "thumbs.db", "desktop.ini"}  # what systems leave behind, beside hidden files
SHOWN = 10


class FileKind(NamedTuple):
    """What is looked for. is_read: whether files that end so (`.jpg`) are read.

    others: endings of the same kind that are not, and remedy: what to do with such files.
    """

    name: str
    endings: tuple[str, ...]
    is_read: Callable[[str], bool]
    others: set[str]
    remedy: str


class Files(NamedTuple):
    """The files below a folder: by class, then by name."""

    files: list[str]  # paths relative to the folder, with /
    names: list[str]  # the same in the letters that every system writes alike
    targets: list[int]
    classes: list[str]
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
        if (other := found.setdefault(_composed(name), name)) != name:
            raise UserError(f"'{folder}': two class folders are called {other}, in other bytes; move them into one")
    return dict(sorted(found.items()))


def find_files(folder: Path, kind: FileKind, classes: list[str], *, may_lack: bool) -> Files:
    """The files below the class folders of `folder`, numbered by their places in `classes`.

    may_lack: some classes, but not all. UserError where a class folder is none of the classes, or a class has nothing.
    """
    folders = class_folders(folder)
    if not folders:
        expected = f"{kind.name} are expected as {folder}/CLASS/FILE{kind.endings[0]}"
        raise UserError(f"'{folder}': no class folders; {expected}")
    _refuse_unknown(folder, folders, classes)
    files, names, targets, empty = [], [], [], []
    others = _entries(folder)[1]
    for number, name in enumerate(classes):
        found = _files_below(folder, folders[name], kind, others) if name in folders else []
        files += found
        names += map(_composed, found)
        targets += [number] * len(found)
        if not found:
            empty.append(name)
    notes = _left_out(folder, kind, others)
    if empty and not (may_lack and files):
        told = f"no {kind.name} in the class folder{'s' if len(empty) > 1 else ''} {shown(empty)}"
        raise UserError("\n".join([f"'{folder}': {told} ({kind.name} end in {' '.join(kind.endings)})", *notes]))
    if empty:
        notes.append(f"'{folder}': no {kind.name} of the class{'es' if len(empty) > 1 else ''} {shown(empty)}")
    return Files(files, names, targets, classes, notes)


def find_labelled(folder: Path, kind: FileKind, label: str, classes: list[str] | None) -> Files:
    """The files below `folder`, each of the class that the regular expression `label` gives for its path.

    classes: None: those that are found. UserError for a class that is none of them, or where there is no file.
    """
    others: list[str] = []
    files = _files_below(folder, "", kind, others)
    notes = _left_out(folder, kind, others)
    if not files:
        expected = f"expected as {folder}/FILE{kind.endings[0]} (they end in {' '.join(kind.endings)})"
        raise UserError("\n".join([f"'{folder}': no {kind.name}; {expected}", *notes]))
    names = [*map(_composed, files)]
    labels = found_by(label, names, "label")
    found = sorted({*labels})
    _refuse_unknown(folder, found, classes := classes or found)
    numbers = {name: number for number, name in enumerate(classes)}
    return Files(files, names, [numbers[each] for each in labels], classes, notes)


def count_files(folder: Path, kind: FileKind, has_class_folders: bool) -> int:
    """How many files lie below `folder`, or its class folders, whatever their classes."""
    below = class_folders(folder).values() if has_class_folders else [""]
    return sum(len(_files_below(folder, name, kind, [])) for name in below)


def loose_files(root: Path, kind: FileKind) -> list[str]:
    """What to say of the files and folders beside the folders of the parts."""
    folders, files = _entries(root)
    others = [f"{name}/" for name in folders if name.casefold() not in PART_FOLDERS]
    beside = [f"'{root}': left out, beside the folders of the parts: {shown(others)}"] if others else []
    return _left_out(root, kind, files) + beside


def found_by(expression: str, paths: Sequence[str], key: str) -> list[str]:
    """What the one group of a regular expression gives for each path. UserError where it is none, or gives nothing.

    key: the argument of the dataset that the expression was given as.
    """
    pattern = compiled(expression, key)
    if pattern.groups != 1:
        raise UserError(
            f"dataset.args.{key}: '{expression}' has {pattern.groups} groups in parentheses; expected one, around what "
            "files of one group have in common, such as 'patient(\\d+)'; (?:...) is not counted"
        )
    matches = [pattern.search(path) for path in paths]
    groups = [None if match is None else match[1] for match in matches]
    if missing := [path for path, group in zip(paths, groups, strict=True) if group is None]:
        raise UserError(
            f"dataset.args.{key}: '{expression}' is not found in {len(missing)} of {len(paths)} paths: {shown(missing)}"
        )
    return groups


def compiled(expression: str, key: str) -> re.Pattern[str]:
    """The regular expression that an argument of the dataset was given as. UserError where it is none."""
    try:
        return re.compile(expression)
    except re.error as error:
        raise UserError(f"dataset.args.{key}: '{expression}' is no regular expression: {error}") from error


def shown(texts: Iterable[str]) -> str:
    """`a, b, c`: the first ten, and how many more."""
    texts = list(texts)
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def _left_out(folder: Path, kind: FileKind, files: list[str]) -> list[str]:
    """What to say of files that are not read; those that lie where no class is may be of the kind."""
    by_reason: dict[str, list[str]] = {}
    for file in sorted(files):
        ending = os.path.splitext(file)[1].lower()
        if kind.is_read(ending):
            reason = f"{kind.name} that lie in no class folder"
        elif ending in kind.others:
            reason = f"{kind.name} of a kind that cannot be read here; {kind.remedy} ({ending})"
        else:
            reason = f"files that are no {kind.name}"
        by_reason.setdefault(reason, []).append(file)
    return [f"'{folder}': left out, {len(files)} {reason}: {shown(files)}" for reason, files in by_reason.items()]


def _refuse_unknown(folder: Path, names: Iterable[str], classes: list[str]) -> None:
    """UserError for classes that are none of those known: they have no number."""
    known = set(classes)
    unknown = [name for name in names if name not in known]
    if unknown:
        near = {name: nearest(name, classes) for name in unknown}
        told = shown(f"{name} (did you mean {near[name][0]}?)" if near[name] else name for name in unknown)
        raise UserError(
            f"'{folder}' has classes that are none of the {len(classes)} classes trained on: {told}\n"
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


def _files_below(folder: Path, below: str, kind: FileKind, others: list[str]) -> list[str]:
    """The files of a kind below a folder in `folder`, relative to that, sorted; what else is found goes to `others`."""
    found = []
    for parent, folders, names in os.walk(folder / below, onerror=_cannot_read, followlinks=True):
        folders[:] = [name for name in folders if not _is_passed_over(name)]
        relative = os.path.relpath(parent, folder).replace(os.sep, "/")
        start = "" if relative == "." else f"{relative}/"
        for name in names:
            if kind.is_read(os.path.splitext(name)[1].lower()):
                if not name.startswith("."):
                    found.append(start + name)
            elif not _is_passed_over(name):
                others.append(start + name)
    return sorted(found, key=_composed)


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name.casefold() in PASSED_OVER


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _cannot_read(error: OSError) -> NoReturn:
    raise UserError(f"cannot read the folder '{error.filename}': {error.strerror}") from error
