"""From what files and overrides say to one checked Config; every mistake is told as soon as it is found."""

import copy
import functools
import itertools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from .layers import Document, document_from, read_config
from .problems import (
    MAX_SHOWN,
    ConfigError,
    Path,
    Problem,
    did_you_mean,
    dotted,
    found,
    in_file_order,
    lines_of,
    nearest,
)
from .reference import element_of, members_of, section_of, type_at, words_of
from .rules import rule_problems
from .schema import ComponentConfig, Config, Section
from .yaml_writer import write_annotated, write_yaml


class AnyRegistry(Protocol):
    """What this room needs to know of a base.Registry."""

    def problems(self, component: Mapping[str, Any]) -> Iterable[tuple[Path, str]]: ...


LoadRegistries = Callable[[], Mapping[str, AnyRegistry]]

__all__ = ["annotated_config", "check_config", "document_from", "dump_config", "problems_in", "read_config"]


def check_config(
    document: Document, load_registries: LoadRegistries | None = None, tell: Callable[[str], Any] | None = None
) -> Config:
    """The checked config. Raises ConfigError with everything that is wrong.

    load_registries: returns the registries by kind, to check component names and arguments too.
    tell: is given each line of the error as soon as its problem is found.
    """
    problems, to_tell = itertools.tee(problems_in(document, load_registries))
    for line in lines_of(to_tell):
        if tell is not None:
            tell(line)
    if all_problems := list(problems):
        raise ConfigError(all_problems, is_told=tell is not None)
    return Config.model_validate(document.data)


def problems_in(document: Document, load_registries: LoadRegistries | None = None) -> Iterator[Problem]:
    """What is wrong with a config, in three stages, each in the order of the files.

    First what was wrong with the text, and keys and values; then keys that contradict each other; then names and
    arguments of components. Only the last stage needs the registries, and thus torch.
    """

    def placed(found: Iterable[tuple[Path, str]]) -> list[Problem]:
        return [Problem(document.origin(path), path, message) for path, message in found]

    messages, broken = _schema_problems(document.data)
    for problem in document.problems:
        messages.pop(problem.path, None)  # what could not be read is not judged as well
    yield from in_file_order([*document.problems, *placed(messages.items())])
    yield from in_file_order(placed(rule_problems(*_without(broken, document.data))))

    if load_registries is not None:
        registries = load_registries()
        found_in_components = (
            ((*path, *where), message)
            for path, section, component in _components_in(document.data, Config, ())
            for where, message in registries[section.kind].problems(component)
        )
        # Nobody reads more, and finding the nearest names takes its time.
        yield from in_file_order(placed(itertools.islice(found_in_components, MAX_SHOWN + 1)))


def _components_in(value: Any, annotation: Any, path: Path) -> Iterator[tuple[Path, type[Section], dict[str, Any]]]:
    """Every component of a config as it was written, also of one that breaks the schema: its path and section."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _components_in(item, element_of(annotation), (*path, index))
    elif isinstance(value, dict):
        section = section_of(annotation)
        if section.kind is not None:
            yield path, section, {"type": section.model_fields["type"].default, **value}  # only the trainer has one
        for key, item in value.items():
            if key in section.model_fields:
                yield from _components_in(item, section.model_fields[key].annotation, (*path, key))


def dump_config(config: Config) -> str:
    """The config as YAML text; reading it back gives the same config."""
    return write_yaml(config.model_dump())


def annotated_config(config: Config, document: Document) -> str:
    """The config as YAML text, each value with a comment that says where it was written."""
    return write_annotated(config.model_dump(), document.origins)


def _schema_problems(data: dict[str, Any]) -> tuple[dict[Path, str], set[Path]]:
    """Where the schema is broken: a message by path, and all paths that cannot be relied on."""
    messages, broken = {}, set()
    for path, kind in _schema_errors(data).items():
        broken.add(path)
        if kind != "extra_forbidden":
            messages[path] = _wrong_value(data, path, is_missing=kind == "missing")
            continue
        meant = _meant(path)
        messages[path] = _unknown_key(path, meant)
        if meant is not None:
            broken.add(meant)
    return messages, broken


def _schema_errors(data: dict[str, Any]) -> dict[Path, str]:
    """What pydantic says of a config: a kind of error by path."""
    try:
        Config.model_validate(data)
        return {}
    except ValidationError as error:
        items = error.errors(include_url=False, include_context=False, include_input=False)
    errors: dict[Path, str] = {}
    for item in items:
        errors.setdefault(_data_path(data, item["loc"], item["type"] == "missing"), item["type"])
    # The other members of a union complain too: what lies deepest is about the member that was meant.
    shallow = {path[:length] for path in errors for length in range(len(path))}
    return {path: kind for path, kind in errors.items() if path not in shallow}


def _data_path(data: Any, loc: tuple[str | int, ...], is_missing: bool) -> Path:
    """pydantic's location without the union members that it puts between the keys."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        if isinstance(data, dict) and isinstance(part, str):
            if part not in data and not (is_missing and index == len(loc) - 1):
                continue  # a union's member
            path.append(part)
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            path.append(part)
            data = data[part]
    return tuple(path)


def _wrong_value(data: Any, path: Path, is_missing: bool) -> str:
    expected = words_of(type_at(path))
    if is_missing:
        return f"missing; expected {expected}"
    for key in path:
        data = data[key]
    members = members_of(type_at(path))
    literals = [typing.get_args(member) for member in members if typing.get_origin(member) is typing.Literal]
    is_unquoted = str in members and isinstance(data, (bool, int, float))
    hint = "; put it in quotes" if is_unquoted else did_you_mean(data, itertools.chain(*literals))
    return f"{found(data)}; expected {expected}{hint}"


def _unknown_key(path: Path, meant: Path | None) -> str:
    section = section_of(type_at(path[:-1]))
    if meant is not None and meant[:-1] == path[:-1]:
        return f"unknown key; did you mean {meant[-1]!r}?"
    hint = f"; did you mean '{dotted(meant)}'?" if meant is not None else ""
    if meant is None and issubclass(section, ComponentConfig):
        hint = f"; an argument of the component goes under '{dotted((*path[:-1], 'args'))}'"
    return f"unknown key; expected one of: {', '.join(section.model_fields)}{hint}"


def _meant(path: Path) -> Path | None:
    """The path that was probably meant by one that the schema doesn't have: a key beside it, or the same elsewhere."""
    if near := nearest(path[-1], section_of(type_at(path[:-1])).model_fields):
        return (*path[:-1], near[0])
    return next((other for other in _all_paths(Config, ()) if other[-1] == path[-1]), None)


@functools.cache
def _all_paths(section: type[Section], path: Path) -> list[Path]:
    """The paths of all keys of the schema but for those in lists."""
    paths = []
    for name, field in section.model_fields.items():
        paths.append((*path, name))
        if element_of(field.annotation) is Any:
            paths += _all_paths(section_of(field.annotation), (*path, name))
    return paths


def _without(broken: set[Path], data: dict[str, Any]) -> tuple[Config, set[Path]]:
    """The config as it would be without its broken keys, and the paths of these; a list is broken as a whole."""
    data = copy.deepcopy(data)
    broken = {tuple(itertools.takewhile(lambda key: isinstance(key, str), path)) for path in broken}
    for *sections, key in sorted(broken, key=len):
        parent: Any = data
        for name in sections:
            parent = parent.get(name) if isinstance(parent, dict) else None
        if isinstance(parent, dict):
            parent.pop(key, None)
            parent.update(_stand_ins(section_of(type_at(tuple(sections))), {key}))
    return Config.model_validate(data), broken


def _stand_ins(section: type[Section], keys: Iterable[str]) -> dict[str, Any]:
    """Values for those of the keys that a section requires; every key that is required takes a mapping or a name."""
    required = {key: section.model_fields[key] for key in keys if key in section.model_fields}
    below = {key: section_of(field.annotation) for key, field in required.items() if field.is_required()}
    return {key: "_" if inner is Section else _stand_ins(inner, inner.model_fields) for key, inner in below.items()}
