"""What a key of the config or an argument of a component takes, in words: for messages, and for the README.

`python -m config.reference` prints the README's config reference.
"""

import enum
import inspect
import pathlib
import types
import typing
from collections import abc
from collections.abc import Iterator
from typing import Any

from pydantic.fields import FieldInfo

from .problems import Path, describe, dotted
from .schema import BatchTransformsConfig, ComponentConfig, Config, Says, Section, TransformsConfig
from .yaml_writer import write_yaml

UNIONS = (typing.Union, types.UnionType)
LISTS = (list, set, frozenset, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection, abc.Set)
MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", complex: "a number", str: "text",
          bytes: "text", pathlib.Path: "a path", None: "null", types.NoneType: "null"}  # fmt: skip
# By name, so that a config is read without importing torch.
_WORDS_OF_TORCH = {
    "Tensor": "a number or a list of numbers",
    "dtype": "a dtype such as float32",
    "device": "a device such as cpu",
}


def words_of(annotation: Any, outer: list[Any] | None = None) -> str:
    """A type in words for a person who writes YAML: `a whole number >= 1 or null`. outer: what Annotated adds to it."""
    annotation, metadata = unwrapped(annotation)
    metadata += outer or []
    said = next((item.words for item in metadata if isinstance(item, Says)), None)
    if said is not None:
        return said
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    if origin in UNIONS:
        words = dict.fromkeys(words_of(member, metadata) for member in inner)
        return " or ".join(text for text in words if not any(_begins_or_ends(other, text) for other in words))
    if origin is typing.Literal:
        *first, last = map(describe, inner)
        return f"{', '.join(first)} or {last}" if first else last
    if is_open(annotation):
        return "any value"
    if origin in _WORDS:
        return _WORDS[origin] + (_bounds(metadata) if origin in (int, float) else "")
    if origin is tuple and len(inner) > 1 and inner[1] is not Ellipsis:
        return f"a list [{', '.join(map(words_of, inner))}]"
    if origin is tuple or origin in LISTS:
        return "a list" if not inner or is_open(inner[0]) else _words_of_list(inner[0])
    return _words_of_class(origin)


def _begins_or_ends(words: str, part: str) -> bool:
    return words.startswith(f"{part} or ") or words.endswith(f" or {part}")


def _bounds(metadata: list[Any]) -> str:
    signs = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
    bounds = [f" {sign} {getattr(item, name)}" for item in metadata for name, sign in signs if hasattr(item, name)]
    return " and".join(bounds)


def _words_of_list(element: Any) -> str:
    section = section_of(element)
    if section is not Section:
        return "a list of " + ("components" if issubclass(section, ComponentConfig) else "mappings")
    return f"a list ({words_of(element)} each)"


def _words_of_class(origin: Any) -> str:
    if origin in MAPPINGS:
        return "a mapping"
    if not inspect.isclass(origin):
        return "any value"
    if issubclass(origin, ComponentConfig):
        return "a component: its name, or {type: NAME, args: {...}}"
    if issubclass(origin, Section):
        return f"a mapping with {', '.join(origin.model_fields)}"
    if issubclass(origin, enum.Enum):
        return f"one of {', '.join(origin.__members__)}"
    words = next((words for name, words in _WORDS_OF_TORCH.items() if is_of_torch(origin, name)), None)
    return words or f"{origin.__name__} (which a config cannot hold: leave it out)"


def unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """An annotation without Annotated, Final and NewType around it, and what Annotated says besides."""
    metadata: list[Any] = []
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation, *more = typing.get_args(annotation)
            metadata += [item for each in more for item in (each.metadata if isinstance(each, FieldInfo) else [each])]
        elif typing.get_origin(annotation) in (typing.Final, typing.ClassVar):
            (annotation,) = typing.get_args(annotation)
        elif hasattr(annotation, "__supertype__"):
            annotation = annotation.__supertype__
        else:
            return annotation, metadata


def is_open(annotation: Any) -> bool:
    """Whether an annotation says nothing of plain values: Any, or what cannot be resolved outside a type checker."""
    return annotation in (Any, object) or isinstance(annotation, (str, typing.ForwardRef, typing.TypeVar))


def is_of_torch(cls: Any, *names: str) -> bool:
    """Whether this is a class of torch with one of these names."""
    return inspect.isclass(cls) and cls.__name__ in names and cls.__module__.split(".")[0] == "torch"


def members_of(annotation: Any) -> list[Any]:
    """The types that a union stands for; a plain type stands for itself."""
    annotation, _ = unwrapped(annotation)
    if typing.get_origin(annotation) not in UNIONS:
        return [annotation]
    return [member for inner in typing.get_args(annotation) for member in members_of(inner)]


def type_at(path: Path) -> Any:
    """What the schema takes at a path of the config; Any where it has no such key."""
    annotation: Any = Config
    for key in path:
        if isinstance(key, int):
            annotation = element_of(annotation)
        else:
            field = section_of(annotation).model_fields.get(key)
            annotation = Any if field is None else typing.Annotated[field.annotation, field]
    return annotation


def section_of(annotation: Any) -> type[Section]:
    """The section that a key may hold; an empty one where it holds none."""
    return next((m for m in members_of(annotation) if inspect.isclass(m) and issubclass(m, Section)), Section)


def element_of(annotation: Any) -> Any:
    """What the list that a key may hold is made of; Any where it holds none."""
    inner = (typing.get_args(member) for member in members_of(annotation) if typing.get_origin(member) is list)
    return next(inner, (Any,))[0]


def reference() -> str:
    """Markdown: a table for each section of the config with key, what it takes, default and meaning."""
    tables = [*_tables(Config, ()), *_table("a component (TYPE alone stands for {type: TYPE})", ComponentConfig, ())]
    return "\n".join(tables).strip() + "\n"


def _tables(section: type[Section], path: Path) -> Iterator[str]:
    """The table of a section, then those of the sections in it."""
    own = ComponentConfig.model_fields if issubclass(section, ComponentConfig) else ()
    title = dotted(path) + (": a component with" if own else "")
    yield from _table(title or "Top level", section, own)
    for name, field in section.model_fields.items():
        element = element_of(field.annotation)
        is_list = section_of(field.annotation) is Section and element is not Any
        below = section_of(element if is_list else field.annotation)
        # Plain components have a table of their own; lists of transforms need none.
        if below.model_fields.keys() - ComponentConfig.model_fields and below not in (
            TransformsConfig,
            BatchTransformsConfig,
        ):
            yield from _tables(below, (*path, name, "N") if is_list else (*path, name))


def _table(title: str, section: type[Section], left_out: object) -> Iterator[str]:
    yield f"\n**{title}**\n\n| key | takes | default | meaning |\n|---|---|---|---|"
    defaults = section.model_construct().model_dump(warnings=False)
    for name, field in section.model_fields.items():
        if name in left_out:
            continue
        takes, default = words_of(field.annotation, field.metadata), "required"
        if takes.startswith("a mapping with "):
            takes, default = "a mapping, see below", default if field.is_required() else ""
        elif not field.is_required():
            default = write_yaml(defaults[name]).splitlines()[0]
        cells = (f"`{name}`", takes, default, field.description)
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(reference(), end="")
