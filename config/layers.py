"""Config files and overrides laid over each other, keeping where each value was written."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path as FilePath
from types import NoneType
from typing import Any

from .command_line import SHORT_FORMS
from .problems import ConfigError, Origin, Path, Problem, dotted, found, in_file_order
from .reference import NAME, SECTIONS, is_by_name, section_at
from .schema import ComponentConfig
from .yaml_reader import MAX_DEPTH, MAX_NODES, Document, read_file, read_text
from .yaml_writer import write_yaml


def read_config(files: Iterable[str], overrides: Iterable[str] = ()) -> Document:
    """Lay the files over each other in order, then the overrides (`KEY=VALUE` or a short form, as typed).

    Raises ConfigError when a file is not a mapping that can be read; smaller mistakes wait for check_config,
    so that all are reported together.
    """
    files = list(files)
    assert files, "a config has at least one file"
    document, unreadable = Document(None, {}, []), []
    for file in files:
        try:
            document = _laid_over(document, read_file(file))
        except ConfigError as error:
            unreadable += error.problems
    if unreadable:
        raise ConfigError(in_file_order([*document.problems, *unreadable]))
    document = _with_overrides(document, overrides)
    document.data.setdefault("name", FilePath(files[0]).stem)
    return document


def document_from(data: Any, origin: str, overrides: Iterable[str] = ()) -> Document:
    """A config that was stored elsewhere (a checkpoint) with overrides laid over it. Raises ConfigError."""
    source = Origin(origin)
    if reason := _why_no_config(data):
        raise ConfigError([Problem(source, (), f"the config in it cannot be used: {reason}")])
    stored = Document(data, {path: source for path, _ in walk(data)}, [])
    return _with_overrides(_laid_over(Document(None, {}, []), stored), overrides)


def _why_no_config(data: Any) -> str | None:
    """Why foreign data is not what a YAML file could hold, or None."""
    if not isinstance(data, dict):
        return "it is not a mapping"
    for num_nodes, (path, value) in enumerate(walk(data), 1):
        if len(path) > MAX_DEPTH or num_nodes > MAX_NODES:
            return "it is nested too deep or too large"
        if not isinstance(value, (dict, list, str, bool, int, float, NoneType)):
            return f"it holds an object ({type(value).__name__})"
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            return "it has a key that is not text"
    return None


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """A value and everything in it, each with its path."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from walk(item, (*path, key))


def _with_overrides(document: Document, overrides: Iterable[str]) -> Document:
    """The document with each override laid over it in turn; what is wrong with one joins the problems."""
    given: dict[Path, Origin] = {}
    for override in overrides:
        try:
            layer, key = _read_override(override, document.data)
        except ConfigError as error:
            document.problems.extend(error.problems)
            continue
        document = _laid_over(document, layer)
        for path in [path for path in given if path not in document.origins]:  # a component of another type has others
            message = f"has no effect, as '{layer.origins[()]}' comes after it: give it after that"
            document.problems.append(Problem(given.pop(path), path, message))
        if not _is_component(key):  # of two whole components the last counts, as of two values
            leaves = [path for path, value in walk(layer.data) if not isinstance(value, dict)]
            given |= {path: layer.origins[()] for path in leaves if all(isinstance(part, str) for part in path)}
    return document


def _read_override(override: str, data: Any) -> tuple[Document, Path]:
    """What `KEY=VALUE`, or a short form such as `--lr 0.1`, lays over the data; and its key. Raises ConfigError."""
    key, separator, text = override.partition(" " if override.startswith("-") else "=")
    if override.startswith(("--name ", "--device ")):
        text = write_yaml(text)  # text whatever it looks like: --name 2024
    origin = Origin((override if override.isprintable() else repr(override))[:300])
    try:
        path = _override_path(data, SHORT_FORMS.get(key, key.strip()) if separator else "")
        if not text.strip():
            raise ValueError("found nothing after '='; is a variable of the shell unset? expected a value, or null")
    except ValueError as error:
        raise ConfigError([Problem(origin, (), str(error))]) from None
    value, origins, problems = read_text(text, origin.source, path)
    for depth in reversed(range(len(path))):
        value = {path[depth]: value}
        origins[path[:depth]] = origin
    return Document(value, origins, problems), path


def _override_path(data: Any, key: str) -> Path:
    """The path of a dotted key; whole numbers index into the lists that are there. Raises ValueError."""
    if not key:
        raise ValueError("not KEY=VALUE; expected a dotted key, '=', and a value, such as trainer.epochs=5")
    path: Path = ()
    for part in key.split(".")[: MAX_DEPTH + 2]:  # a value that lies deeper is refused when it is read
        here = dotted(path)
        if not part:
            raise ValueError(f"found the key {key!r}, which has an empty part; expected names joined by '.'")
        if isinstance(data, list):
            if not re.fullmatch("[0-9]{1,5}", part) or int(part) >= len(data):
                allowed = f"a number from 0 to {len(data) - 1}" if data else f"the whole list: {here}=[...]"
                raise ValueError(f"found {part!r} after '{here}', a list of {len(data)}; expected {allowed}")
            path, data = (*path, int(part)), data[int(part)]
        elif data is None or isinstance(data, dict):
            path, data = (*path, part), data.get(part) if data else None
        else:
            raise ValueError(f"'{here}' holds no keys ({found(data)}), so {part!r} cannot be set in it")
    return path


def _laid_over(document: Document, layer: Document) -> Document:
    """The document with a layer over it; its origins are those of the values that are left."""
    origins = dict(layer.origins)
    data = _merged(document.data, layer.data, (), origins)
    origins = {**document.origins, **origins}
    return Document(data, {path: origins[path] for path, _ in walk(data)}, [*document.problems, *layer.problems])


def _merged(old: Any, new: Any, path: Path, origins: dict[Path, Origin]) -> Any:
    """`new` over `old`: mappings merge, all else replaces, and so do {} and a component of another type.

    A trainer of another type loses its `args` alone: its other keys are not the component's. ~/ is written out.
    A bare name that stands for a component becomes {type: name}. `origins`, those of `new`, follow: such a type gets
    one, and what is merged loses its own, as it keeps the one that it has.
    """
    if isinstance(new, list):
        return [_merged(None, item, (*path, index), origins) for index, item in enumerate(new)]
    if isinstance(new, str) and _is_component(path):
        origins[*path, "type"] = origins[path]
        new = {"type": new}
    if not isinstance(new, dict):
        return os.path.expanduser(new) if isinstance(new, str) and new.startswith("~/") else new
    sets_item = any(isinstance(key, int) for key in new)  # an override that counts into the list `old`
    field = section_at(path).model_fields.get("type") if isinstance(old, dict) and "type" in new else None
    is_other = field is not None and new["type"] != old.get("type", field.default)  # the trainer's has a default
    if (*path, NAME) in SECTIONS and is_by_name(new) and not is_by_name(old):
        old = None if any(isinstance(item, (dict, list)) for item in new.values()) else old
    merged: Any = {}
    if sets_item or (isinstance(old, dict) and (new or not path) and not (is_other and _is_component(path))):
        merged = old.copy()
        del origins[path]
    if is_other:
        merged.pop("args", None)
        merged |= {key: old[key] for key in ("params",) if key in old}  # of several optimizers: which weights it has
    for key, item in new.items():
        before = merged[key] if sets_item else merged.get(key)
        merged[key] = _merged(before, item, (*path, key), origins)
    return merged


def _is_component(path: Path) -> bool:
    return issubclass(section_at(path), ComponentConfig)
