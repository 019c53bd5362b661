"""Config files and overrides laid over each other, keeping where each value was written."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from .command_line import SHORT_FORMS
from .problems import Origin, Path, Problem, dotted, found
from .yaml_builder import paths_below
from .yaml_reader import Layer, read_text

# Where a component stands in the config, and the registry that knows its name. `*`: an element of a list.
COMPONENT_PLACES: dict[Path, str] = {
    ("dataset",): "dataset",
    **{("dataset", "transforms", stage, "*"): "transform" for stage in ("train", "eval")},
    **{("dataset", "batch_transforms", stage, "*"): "batch_transform" for stage in ("train", "eval")},
    ("model",): "model",
    ("loss",): "loss",
    ("metrics", "*"): "metric",
    ("optimizer",): "optimizer",
    ("lr_scheduler",): "lr_scheduler",
    ("lr_scheduler", "*"): "lr_scheduler",
    ("trainer", "loggers", "*"): "logger",
}
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


def kind_at(path: Path) -> str | None:
    """The kind of component that stands at a path of the config, if one does."""
    return COMPONENT_PLACES.get(tuple("*" if isinstance(key, int) else key for key in path))


def components_in(data: dict[str, Any]) -> Iterator[tuple[Path, str, Any]]:
    """Every component of a config: its path, kind and value."""
    for path in paths_below(data, ()):
        kind = kind_at(path)
        value = value_at(data, path)
        # ("lr_scheduler",) may hold a list, whose elements come on their own.
        if kind is not None and value is not None and not isinstance(value, list):
            yield path, kind, value


def value_at(data: Any, path: Path) -> Any:
    """The value at a path that exists."""
    for key in path:
        data = data[key]
    return data


def merge(document: Document, layer: Layer, at: Path = ()) -> None:
    """Lay a layer, whose root stands at the path `at`, over the document."""
    origins = {(*at, *path): origin for path, origin in layer.origins.items()}
    value = _with_types(layer.data, at, origins)
    if at[-1:] == ("type",) and kind_at(at[:-1]) is not None:  # optimizer.type=SGD is a change of the component
        origins[at[:-1]] = origins[at]
        at, value = at[:-1], {"type": value}
    _merge(document, at, value, origins)


def apply_override(document: Document, override: str) -> None:
    """Lay `KEY=VALUE`, or a short form such as `--lr 0.1`, over the document; problems join its own."""
    key, value = _split_override(override)
    origin = Origin((override if override.isprintable() else repr(override))[:300])
    try:
        path = _override_path(document.data, key)
    except _OverrideError as error:
        document.problems.append(Problem(origin, (), str(error)))
        return
    if override.startswith("-") and key in _TEXT_KEYS:
        layer = Layer(value, {(): origin}, [], True)
    else:
        layer = read_text(value, origin.source, numbered=False)
    document.problems.extend(problem._replace(path=(*path, *problem.path)) for problem in layer.problems)
    if layer.is_readable:
        merge(document, layer, path)


def _split_override(override: str) -> tuple[str, str]:
    if override.startswith("-"):
        flag, _, value = override.partition(" ")
        return SHORT_FORMS[flag], value
    key, has_value, value = override.partition("=")
    return (key.strip() if has_value else ""), value


def _override_path(data: Any, key: str) -> Path:
    """The path of a dotted key; whole numbers index into the lists that are there. Raises _OverrideError."""
    if not key:
        raise _OverrideError("not KEY=VALUE; expected a dotted key, '=', and a value, such as trainer.epochs=5")
    path: list[str | int] = []
    for part in key.split("."):
        if not part:
            raise _OverrideError(f"found the key {key!r}, which has an empty part; expected names joined by '.'")
        here = f"'{dotted(tuple(path))}'"
        if isinstance(data, list):
            if not re.fullmatch("[0-9]{1,5}", part) or int(part) >= len(data):
                raise _OverrideError(
                    f"found {part!r} after {here}, a list of {len(data)}; expected "
                    + (
                        f"a number from 0 to {len(data) - 1}"
                        if data
                        else f"the whole list: {dotted(tuple(path))}=[...]"
                    )
                )
            path.append(int(part))
            data = data[int(part)]
        elif data is None or isinstance(data, dict):
            path.append(part)
            data = data.get(part) if data else None
        else:
            raise _OverrideError(f"{here} holds no keys ({found(data)}), so {part!r} cannot be set in it")
    return tuple(path)


def _with_types(value: Any, path: Path, origins: dict[Path, Origin]) -> Any:
    """The value with each bare name that stands for a component written out as {type: name}."""
    if isinstance(value, str) and kind_at(path) is not None:
        origins[(*path, "type")] = origins[path]
        return {"type": value}
    if isinstance(value, dict):
        return {key: _with_types(item, (*path, key), origins) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_types(item, (*path, index), origins) for index, item in enumerate(value)]
    return value


def _merge(document: Document, path: Path, value: Any, origins: dict[Path, Origin]) -> None:
    if not path:
        old = document.data
    else:
        parent = _parent(document, path, origins)
        old = parent.get(path[-1]) if isinstance(parent, dict) else parent[path[-1]]
    is_other = kind_at(path) and isinstance(value, dict) and "type" in value and value["type"] != _type(old)
    if isinstance(value, dict) and isinstance(old, dict) and not is_other:
        for key, item in value.items():
            _merge(document, (*path, key), item, origins)
        return
    for below in [path, *paths_below(old, path)]:
        document.origins.pop(below, None)
    for here in [path, *paths_below(value, path)]:
        document.origins[here] = origins[here]
    parent[path[-1]] = value


def _type(component: Any) -> Any:
    return component.get("type") if isinstance(component, dict) else None


def _parent(document: Document, path: Path, origins: dict[Path, Origin]) -> Any:
    """The mapping or list that holds a path, with the mappings on the way made where they are missing."""
    data: Any = document.data
    for depth, key in enumerate(path[:-1], 1):
        if isinstance(data, dict) and data.get(key) is None:
            data[key] = {}
            document.origins[path[:depth]] = origins[path]
        data = data[key]
    return data
