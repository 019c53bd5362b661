"""The schema's types in plain words, for error messages and the config reference."""

import types
import typing
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .problems import Path, describe
from .schema import ComponentConfig, Config, Says

_COMPONENT = "a component: its name, or {type: NAME, args: {...}}"


def expected_at(path: Path) -> str:
    """What the schema wants at a path, in words."""
    field = _field(path)
    if isinstance(field, FieldInfo):
        return words_of(field.annotation, field.metadata)
    return words_of(field, ())


def _field(path: Path) -> Any:
    """The FieldInfo of a key, or the annotation of a list's element."""
    field: Any = Config
    for key in path:
        if isinstance(key, int):
            field = element_of(field.annotation if isinstance(field, FieldInfo) else field)
        else:
            field = section_of(field.annotation if isinstance(field, FieldInfo) else field).model_fields[key]
    return field


def type_at(path: Path) -> Any:
    """The annotation at a path of the schema."""
    field = _field(path)
    return field.annotation if isinstance(field, FieldInfo) else field


def members_of(annotation: Any) -> tuple[Any, ...]:
    """The types that a union stands for; a plain type stands for itself."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def is_list(annotation: Any) -> bool:
    """Whether a key may hold a list."""
    return any(typing.get_origin(member) is list for member in members_of(annotation))


def element_of(annotation: Any) -> Any:
    """What the list that a key holds is made of."""
    return next(typing.get_args(member)[0] for member in members_of(annotation) if typing.get_origin(member) is list)


def section_of(annotation: Any) -> type[BaseModel]:
    """The section that a key holds; an empty one where it holds none."""
    for member in members_of(annotation):
        # In Python 3.10 dict[str, Any] passes for a type.
        if typing.get_origin(member) is None and isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return BaseModel


def words_of(annotation: Any, metadata: Any = ()) -> str:
    """A schema type in words: `a whole number >= 1 or null`."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation, *more = typing.get_args(annotation)
        metadata = [*more, *metadata]
    bounds = ""
    for item in metadata:
        if isinstance(item, Says):
            return item.words
        if isinstance(item, FieldInfo):
            return words_of(annotation, item.metadata)
        for name, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")):
            if getattr(item, name, None) is not None:
                bounds += f"{' and' if bounds else ''} {sign} {getattr(item, name)}"
    members = members_of(annotation)
    if len(members) > 1:
        words = [words_of(member, metadata) for member in members]
        return " or ".join(word for word in words if word != "null" or "null" not in "".join(words[:-1]))
    if typing.get_origin(annotation) is typing.Literal:
        *first, last = map(describe, typing.get_args(annotation))
        return f"{', '.join(first)} or {last}" if first else last
    if typing.get_origin(annotation) is list:
        element = typing.get_args(annotation)[0]
        if section_of(element) is not BaseModel:
            return "a list of " + ("components" if issubclass(section_of(element), ComponentConfig) else "mappings")
        return f"a list ({words_of(element)} each)"
    if issubclass(section_of(annotation), ComponentConfig):
        return _COMPONENT
    if section_of(annotation) is not BaseModel:
        return f"a mapping with {', '.join(section_of(annotation).model_fields)}"
    plain = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "text",
        types.NoneType: "null",
    }
    return plain.get(annotation, "a mapping") + (bounds if annotation in (int, float) else "")
