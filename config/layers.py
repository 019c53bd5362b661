"""Config files and overrides laid over each other, keeping where each value was written."""

import re
from collections.abc import Iterable
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from .command_line import SHORT_FORMS
from .problems import ConfigError, Origin, Path, Problem, dotted, found, in_file_order
from .reference import section_at
from .schema import ComponentConfig
from .yaml_reader import MAX_DEPTH, MAX_NODES, Layer, items_below, read_file, read_text

_TEXT_KEYS = ("name", "device")  # their short forms are text whatever they look like: --name 2024


class Document(NamedTuple):
    """A config as it was written: plain data, the origin of every path, and what was wrong while reading."""

    data: dict[str, Any]
    origins: dict[Path, Origin]
    problems: list[Problem]

    def origin(self, path: Path) -> Origin:
        """Where a path was written; for one that is not there, where the mapping around it was."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins[path]


class _OverrideError(ValueError):
    """An override that cannot be applied; the message says why."""


def read_config(files: Iterable[str], overrides: Iterable[str] = ()) -> Document:
    """Lay the files over each other in order, then the overrides (`KEY=VALUE` or a short form, as typed).

    Raises ConfigError when a file is not a mapping that can be read; smaller mistakes wait for check_config,
    so that all are reported together.
    """
    files = list(files)
    layers = [read_file(file) for file in files]
    assert layers, "a config has at least one file"
    problems = [problem for layer in layers for problem in layer.problems]
    if not all(layer.is_readable for layer in layers):
        raise ConfigError(in_file_order(problems))
    document = Document({}, {(): layers[0].origins[()]}, problems)
    for layer in layers:
        _lay_over(document, layer, ())
    for override in overrides:
        _apply_override(document, override)
    document.data.setdefault("name", FilePath(files[0]).stem)
    return document


def document_from(data: Any, origin: str, overrides: Iterable[str] = ()) -> Document:
    """A config that was stored elsewhere (a checkpoint) with overrides laid over it. Raises ConfigError."""
    source = Origin(origin)
    reason = _why_not_plain(data, MAX_DEPTH, [MAX_NODES])
    if reason or not isinstance(data, dict):
        raise ConfigError([Problem(source, (), f"the config in it cannot be used: {reason or 'it is not a mapping'}")])
    document = Document({}, {(): source}, [])
    origins = {path: source for path, _ in [((), data), *items_below(data, ())]}
    _lay_over(document, Layer(data, origins, [], True), ())
    for override in overrides:
        _apply_override(document, override)
    return document


def _why_not_plain(value: Any, depth: int, nodes_left: list[int]) -> str | None:
    """Why foreign data is not what a YAML file could hold, or None."""
    nodes_left[0] -= 1
    if depth < 0 or nodes_left[0] < 0:
        return "it is nested too deep or too large"
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return "it has a key that is not text"
        children: Iterable[Any] = value.values()
    elif isinstance(value, list):
        children = value
    elif value is None or isinstance(value, (bool, int, float, str)):
        return None
    else:
        return f"it holds an object ({type(value).__name__})"
    return next((reason for child in children if (reason := _why_not_plain(child, depth - 1, nodes_left))), None)


def _apply_override(document: Document, override: str) -> None:
    """Lay `KEY=VALUE`, or a short form such as `--lr 0.1`, over the document; problems join its own."""
    is_short = override.startswith("-")
    key, _, value = override.partition(" " if is_short else "=")
    key = SHORT_FORMS[key] if is_short else key.strip()
    origin = Origin((override if override.isprintable() else repr(override))[:300])
    try:
        path = _override_path(document.data, key if is_short or "=" in override else "")
    except _OverrideError as error:
        document.problems.append(Problem(origin, (), str(error)))
        return
    if is_short and key in _TEXT_KEYS:
        layer = Layer(value, {(): origin}, [], True)
    else:
        layer = read_text(value, origin.source, numbered=False)
    document.problems.extend(problem._replace(path=(*path, *problem.path)) for problem in layer.problems)
    if layer.is_readable:
        _lay_over(document, layer, path)


def _override_path(data: Any, key: str) -> Path:
    """The path of a dotted key; whole numbers index into the lists that are there. Raises _OverrideError."""
    if not key:
        raise _OverrideError("not KEY=VALUE; expected a dotted key, '=', and a value, such as trainer.epochs=5")
    path: Path = ()
    for part in key.split("."):
        if not part:
            raise _OverrideError(f"found the key {key!r}, which has an empty part; expected names joined by '.'")
        here = dotted(path)
        if isinstance(data, list):
            if not re.fullmatch("[0-9]{1,5}", part) or int(part) >= len(data):
                allowed = f"a number from 0 to {len(data) - 1}" if data else f"the whole list: {here}=[...]"
                raise _OverrideError(f"found {part!r} after '{here}', a list of {len(data)}; expected {allowed}")
            path, data = (*path, int(part)), data[int(part)]
        elif data is None or isinstance(data, dict):
            path, data = (*path, part), data.get(part) if data else None
        else:
            raise _OverrideError(f"'{here}' holds no keys ({found(data)}), so {part!r} cannot be set in it")
    return path


def _lay_over(document: Document, layer: Layer, at: Path) -> None:
    """Lay a layer, whose root stands at the path `at`, over the document."""
    origins = {(*at, *path): origin for path, origin in layer.origins.items()}
    value = _with_types(layer.data, at, origins)
    if at[-1:] == ("type",) and _is_component(at[:-1]):  # optimizer.type=SGD is a change of the component
        origins[at[:-1]] = origins[at]
        at, value = at[:-1], {"type": value}
    _merge(document, at, value, origins)


def _is_component(path: Path) -> bool:
    return issubclass(section_at(path), ComponentConfig)


def _with_types(value: Any, path: Path, origins: dict[Path, Origin]) -> Any:
    """The value with each bare name that stands for a component written out as {type: name}."""
    if isinstance(value, str) and _is_component(path):
        origins[(*path, "type")] = origins[path]
        return {"type": value}
    if isinstance(value, dict):
        return {key: _with_types(item, (*path, key), origins) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_types(item, (*path, index), origins) for index, item in enumerate(value)]
    return value


def _merge(document: Document, path: Path, value: Any, origins: dict[Path, Origin]) -> None:
    """Put a value at a path: mappings merge, all else replaces, and so does a component of another type."""
    parent = _parent(document, path, origins) if path else {}
    old = document.data if not path else parent.get(path[-1]) if isinstance(parent, dict) else parent[path[-1]]
    if isinstance(value, dict) and isinstance(old, dict):
        is_other = "type" in value and value["type"] != old.get("type") and _is_component(path)
        if not is_other:
            for key, item in value.items():
                _merge(document, (*path, key), item, origins)
            return
    for below, _ in [(path, old), *items_below(old, path)]:
        document.origins.pop(below, None)
    for here, _ in [(path, value), *items_below(value, path)]:
        document.origins[here] = origins[here]
    parent[path[-1]] = value


def _parent(document: Document, path: Path, origins: dict[Path, Origin]) -> Any:
    """The mapping or list that holds a path, with the mappings on the way made where they are missing."""
    data: Any = document.data
    for depth, key in enumerate(path[:-1], 1):
        if isinstance(data, dict) and data.get(key) is None:
            data[key] = {}
            document.origins[path[:depth]] = origins[path]
        data = data[key]
    return data
