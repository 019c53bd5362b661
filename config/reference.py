"""What a key of the config or an argument of a component takes, and its words."""

import enum
import functools
import inspect
import pathlib
import re
import types
import typing
from collections import abc
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic.fields import FieldInfo

from .problems import Path, describe, nearest
from .schema import ComponentConfig, Config, Says, Section, is_own_name

UNIONS = (typing.Union, types.UnionType)
LISTS = (list, set, frozenset, abc.Sequence, abc.MutableSequence, abc.Iterable, abc.Collection, abc.Set)
MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", complex: "a number", str: "text",
          bytes: "text", pathlib.Path: "a path", None: "null", types.NoneType: "null"}  # fmt: skip
_COMPONENT = "a component: its name, or {type: NAME, args: {...}}"
# By name, so that a config is read without importing torch.
_WORDS_OF_TORCH = {"Tensor": "a number or a list of numbers", "dtype": "a dtype such as float32",
                   "device": "a device such as cpu"}  # fmt: skip


def words_of(annotation: Any, outer: Iterable[Any] = ()) -> str:
    """A type in words for a person who writes YAML: `a whole number >= 1 or null`. outer: what Annotated adds to it."""
    annotation, metadata = unwrapped(annotation)
    metadata += outer
    origin, inner = typing.get_origin(annotation) or annotation, typing.get_args(annotation)
    for item in metadata:
        if isinstance(item, Says):
            return item.words
    if origin in UNIONS:
        words = dict.fromkeys(words_of(member, metadata) for member in choices_in(inner))
        among = [f" or {text} or " for text in words]
        return " or ".join(text for text in words if sum(f" or {text} or " in other for other in among) == 1)
    if origin is typing.Literal:
        *first, last = map(describe, inner)
        return f"{', '.join(first)} or {last}" if first else last
    if is_open(annotation):
        return "any value"
    if origin in _WORDS:
        return _WORDS[origin] + (_bounds(metadata) if origin in (int, float) else "")
    if origin is tuple and len(inner) > 1 and inner[1] is not Ellipsis:
        words = list(map(words_of, inner))
        are_numbers = len(set(words)) == 1 and _plural(words[0])
        return f"a list of {len(inner)} {_plural(words[0])}" if are_numbers else f"a list [{', '.join(words)}]"
    if origin is tuple or origin in LISTS:
        if not inner or is_open(inner[0]):
            return "a list"
        words = words_of(inner[0])
        return f"a list of {_plural(words)}" if _plural(words) else f"a list ({words} each)"
    if origin in MAPPINGS:
        return "a mapping"
    return _words_of_class(origin) if inspect.isclass(origin) else "any value"


def _plural(words: str) -> str | None:
    """The words for several numbers or components; None for others, which make no short phrase."""
    if words == _COMPONENT:
        return "components"
    number = re.fullmatch(r"a ((?:whole )?number)( [<>].*)?", words)
    return f"{number[1]}s{number[2] or ''}" if number else None


def _bounds(metadata: list[Any]) -> str:
    signs = (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
    bounds = [f" {sign} {getattr(item, name)}" for item in metadata for name, sign in signs if hasattr(item, name)]
    return " and".join(bounds)


def _words_of_class(cls: type) -> str:
    if issubclass(cls, ComponentConfig):
        return _COMPONENT
    if fields := fields_of(cls):
        return f"a mapping with {', '.join(fields)}"
    if issubclass(cls, enum.Enum):
        return f"one of {', '.join(cls.__members__)}"
    if is_of_torch(cls, *_WORDS_OF_TORCH):
        return _WORDS_OF_TORCH[cls.__name__]
    return f"{cls.__name__} (which a config cannot hold: leave it out)"


def fields_of(cls: type) -> list[str]:
    """The fields of a class that a mapping can give: a section, a dataclass, a NamedTuple or a TypedDict."""
    if typing.is_typeddict(cls):
        return list(cls.__annotations__)
    listed = (getattr(cls, name, ()) for name in ("model_fields", "__dataclass_fields__", "_fields"))
    return list(next(filter(None, listed), ()))


def choices_in(members: Iterable[Any]) -> list[Any]:
    """The members of a union. A tensor beside a number means one number too: a list would be wrong."""
    return [member for member in members if float not in members or not is_of_torch(member, "Tensor")]


def unwrapped(annotation: Any) -> tuple[Any, list[Any]]:
    """An annotation without Annotated and NewType around it, and what Annotated says besides."""
    metadata: list[Any] = []
    while True:
        if typing.get_origin(annotation) in (typing.Annotated, typing.Required, typing.NotRequired):
            annotation, *more = typing.get_args(annotation)
            for item in more:
                metadata += item.metadata if isinstance(item, FieldInfo) else [item]
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


def section_of(annotation: Any) -> type[Section]:
    """The section that a key may hold; an empty one where it holds none."""
    return next((m for m in members_of(annotation) if inspect.isclass(m) and issubclass(m, Section)), Section)


def named_of(annotation: Any) -> Any:
    """What a mapping by names of one's own holds that a key may be; None where it may be none."""
    members = [unwrapped(member)[0] for member in members_of(annotation)]
    held = [typing.get_args(member)[1] for member in members if typing.get_origin(member) is dict]
    return next((item for item in held if item is not Any), None)


def is_by_name(value: Any) -> bool:
    """Whether a value holds components by names of one's own, and is none itself: `{generator: {...}, ...}`."""
    kinds = (dict, list, str, types.NoneType)
    return (
        isinstance(value, dict)
        and bool(value)
        and all(is_own_name(key) and isinstance(item, kinds) for key, item in value.items())
    )


def element_of(annotation: Any) -> Any:
    """What the list that a key may hold is made of; None where it holds none."""
    lists = (member for member in members_of(annotation) if typing.get_origin(member) is list)
    return next((typing.get_args(member)[0] for member in lists), None)


def _sections(annotation: Any, path: Path) -> Iterator[tuple[Path, type[Section]]]:
    section, element, named = section_of(annotation), element_of(annotation), named_of(annotation)
    if section is not Section:
        yield path, section
    for name, field in section.model_fields.items():
        yield from _sections(field.annotation, (*path, name))
    if element is not None:
        yield from _sections(element, (*path, 0))
    if named is not None:
        yield from _sections(named, (*path, NAME))


# Every section of the schema by its path, in which 0 stands for all places of a list, NAME for all names of one's own.
NAME = "NAME"
SECTIONS = dict(_sections(Config, ()))


def section_at(path: Path) -> type[Section]:
    """The section that may stand at a path of the config; an empty one where none does."""
    general: Path = ()
    for key in path:
        is_name = (*general, NAME) in SECTIONS and is_own_name(key)
        general = (*general, 0 if isinstance(key, int) else NAME if is_name else key)
    return SECTIONS.get(general, Section)


# What victoresque/pytorch-template calls some keys.
FORMER_KEYS = {("arch",): ("model",), ("n_gpu",): ("device",), ("trainer", "verbosity"): ("trainer", "log_every")}


@functools.cache
def meant_by(path: Path) -> Path | None:
    """The key that was probably meant by one that the schema doesn't have: one beside it, or the same elsewhere."""
    *where, key = path
    if path in FORMER_KEYS:
        return FORMER_KEYS[path]
    if near := nearest(key, section_at(path[:-1]).model_fields):
        return (*where, near[0])
    for other, section in SECTIONS.items():
        if key in section.model_fields and not {0, NAME} & {*other}:
            return (*other, key)
    return None
