"""The schema's verdict on a document in plain words: what was found, what is allowed, what was meant."""

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from .layers import Document
from .problems import Path, Problem, did_you_mean, dotted, found, nearest
from .schema import ComponentConfig, Config
from .schema_words import expected_at, is_list, members_of, section_of, type_at

Verdict = tuple[Config | None, list[Problem], set[Path]]


def check_schema(document: Document) -> Verdict:
    """The config (None where there are problems), the problems, and the paths that cannot be relied on."""
    try:
        return Config.model_validate(document.data), [], set()
    except ValidationError as error:
        errors = {}
        for item in error.errors(include_url=False, include_context=False, include_input=False):
            path = _data_path(document.data, item["loc"], item["type"] == "missing")
            errors.setdefault(path, item["type"])
    # The other members of a union complain too: what lies deepest is about the member that was meant.
    shallow = {path[:length] for path in errors for length in range(len(path))}
    deepest = [path for path in errors if path not in shallow]
    problems, bad_paths = [], set(deepest)
    for path in deepest:
        if errors[path] == "extra_forbidden":
            message, meant = _unknown_key(path)
            if meant is not None:
                bad_paths.add(meant)
        else:
            message = _wrong_value(document.data, path, is_missing=errors[path] == "missing")
        problems.append(Problem(document.origin(path), path, message))
    return None, problems, bad_paths


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


def _unknown_key(path: Path) -> tuple[str, Path | None]:
    """What to say of a key that the schema doesn't have, and the path that was probably meant."""
    section = section_of(type_at(path[:-1]))
    key = str(path[-1])
    near = nearest(key, section.model_fields)
    if near is not None:
        return f"unknown key; did you mean {near!r}?", (*path[:-1], near)
    elsewhere = [other for other in _all_paths(Config, ()) if other[-1] == key]
    if issubclass(section, ComponentConfig) and not elsewhere:
        hint = f"; an argument of the component goes under '{dotted((*path[:-1], 'args'))}'"
    else:
        hint = f"; did you mean '{dotted(elsewhere[0])}'?" if elsewhere else ""
    allowed = ", ".join(section.model_fields)
    return f"unknown key; expected one of: {allowed}{hint}", elsewhere[0] if elsewhere else None


def _all_paths(section: type[BaseModel], path: Path) -> Iterator[Path]:
    for name, field in section.model_fields.items():
        yield (*path, name)
        below = section_of(field.annotation)
        if below is not BaseModel and not is_list(field.annotation):
            yield from _all_paths(below, (*path, name))


def _wrong_value(data: Any, path: Path, is_missing: bool) -> str:
    for key in path[:-1] if is_missing else path:
        data = data[key]
    expected = expected_at(path)
    if is_missing:
        return f"missing; expected {expected}"
    members = members_of(type_at(path))
    is_unquoted = str in members and isinstance(data, (bool, int, float))
    choices = [choice for member in members if typing.get_origin(member) is typing.Literal
               for choice in typing.get_args(member)]  # fmt: skip
    hint = "; put it in quotes" if is_unquoted else did_you_mean(data, choices)
    return f"{found(data)}; expected {expected}{hint}"
