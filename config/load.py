"""From what files and overrides say to one checked Config; every mistake is told as soon as it is found."""

import functools
import itertools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from .layers import document_from, read_config, walk
from .problems import MAX_SHOWN, ConfigError, Path, Problem, did_you_mean, dotted, found, in_file_order, lines_of
from .reference import element_of, is_by_name, meant_by, members_of, named_of, section_at, section_of, words_of
from .rules import rule_problems
from .schema import ComponentConfig, Config, Section, is_own_name
from .yaml_reader import Document

__all__ = ["check_config", "document_from", "problems_in", "read_config"]
LoadRegistries = Callable[[], Mapping[str, Any]]


def check_config(
    document: Document, load_registries: LoadRegistries | None = None, tell: Callable[[str], Any] | None = None
) -> Config:
    """The checked config. Raises ConfigError with everything that is wrong.

    load_registries: returns every base.Registry by its kind, to check component names and arguments too; those of a
        kind that is not among them are let through.
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

    mistakes: dict[Path, str] = {}
    config = _checked(document.data, Config, (), mistakes)
    wrong = {meant_by(path) or path for path in mistakes}
    for problem in document.problems:
        mistakes.pop(problem.path, None)  # what could not be read is not judged as well
    yield from in_file_order([*document.problems, *placed(mistakes.items())])
    yield from in_file_order(placed(rule_problems(config, wrong)))

    if load_registries is not None:
        registries = load_registries()
        found_in_components = (
            ((*path, *where), message)
            for path, kind, component in _components(document.data)
            if kind in registries
            for where, message in registries[kind].problems(component)
        )
        # Nobody reads more, and finding the nearest names takes its time.
        yield from in_file_order(placed(itertools.islice(found_in_components, MAX_SHOWN + 1)))


_adapter = functools.cache(TypeAdapter)


def _checked(value: Any, annotation: Any, path: Path, mistakes: dict[Path, str]) -> Any:
    """A value as the schema has it; what is wrong with it is entered in `mistakes`, with None in its place.

    A section with mistakes keeps what is right in it, so that the rules can judge that.
    """
    try:
        return _adapter(annotation).validate_python(value, strict=True)
    except ValidationError:
        section, element, named = section_of(annotation), element_of(annotation), named_of(annotation)
    if isinstance(value, list) and element is not None:
        return [_checked(item, element, (*path, index), mistakes) for index, item in enumerate(value)]
    if named is not None and isinstance(value, dict) and (names := _names_in(value)):
        for key in (key for key in value if key not in names):
            message = f"found beside {', '.join(names)}, which are by name; expected in one of them: "
            mistakes[*path, key] = f"{message}'{dotted((*path, names[0], key))}'"
        right = {name: _checked(value[name], named, (*path, name), mistakes) for name in names}
        for name in names:
            if (missing := (*path, name, "type")) in mistakes and "type" not in value[name]:
                mistakes[missing] += did_you_mean(name, [other for other in names if other != name])
        return right
    if not isinstance(value, dict) or section is Section:
        mistakes[path] = _wrong_value(value, annotation)
        return None
    right = {}
    for key, field in section.model_fields.items():
        expected = Annotated[field.annotation, field]
        if key in value:
            right[key] = _checked(value[key], expected, (*path, key), mistakes)
        elif field.is_required():
            mistakes[*path, key] = f"missing; expected {words_of(expected)}"
    for key in value:
        if key not in section.model_fields:
            mistakes[*path, key] = _unknown_key((*path, key), section)
    return section.model_construct(**right)


def _names_in(value: dict[str, Any]) -> list[str]:
    """The names in a mapping that holds components by names of one's own, with other keys beside them or not."""
    names = [key for key in value if is_own_name(key)]
    has_one = any(isinstance(value[name], dict) and "type" in value[name] for name in names)
    return names if is_by_name(value) or (has_one and "type" not in value) else []


def _wrong_value(value: Any, annotation: Any) -> str:
    members = members_of(annotation)
    literals = [typing.get_args(member) for member in members if typing.get_origin(member) is typing.Literal]
    is_unquoted = str in members and isinstance(value, (bool, int, float))
    hint = "; put it in quotes" if is_unquoted else did_you_mean(value, itertools.chain(*literals))
    return f"{found(value)}; expected {words_of(annotation)}{hint}"


def _unknown_key(path: Path, section: type[Section]) -> str:
    meant = meant_by(path)
    if meant is not None and meant[:-1] == path[:-1]:
        return f"unknown key; did you mean {meant[-1]!r}?"
    hint = f"; did you mean '{dotted(meant)}'?" if meant is not None else ""
    if meant is None and issubclass(section, ComponentConfig):
        hint = f"; an argument of the component goes under '{dotted((*path[:-1], 'args'))}'"
    return f"unknown key; expected one of: {', '.join(section.model_fields)}{hint}"


def _is_unknown(path: Path, data: Any) -> bool:
    """Whether the last key is no name of a component, because what it stands in is a component itself."""
    for key in path[:-1]:
        data = data[key]
    return isinstance(data, dict) and "type" in data and len(path) > 1 and is_own_name(path[-1])


def _components(data: dict[str, Any]) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Every component of a config as it was written, also of one that breaks the schema: its path and kind."""
    for path, value in walk(data):
        section = section_at(path)
        if section.kind is not None and isinstance(value, dict) and not (path and _is_unknown(path, data)):
            yield path, section.kind, {"type": section.model_fields["type"].default, **value}  # the trainer has one
