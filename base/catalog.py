"""What --list and --describe show: the components that a config can name."""

from __future__ import annotations

import difflib
import enum
import functools
import inspect
import textwrap
from typing import Any

from base.registry import REGISTRIES, Registry
from config.annotation import written
from config.signature import parameters_of
from utils.errors import UserError


def list_components(kind: str | None = None) -> str:
    """The names of one kind, or of every kind: the project's own first, then the library's."""
    registries = [REGISTRIES[kind]] if kind else list(REGISTRIES.values())
    return "\n\n".join(_listing(registry) for registry in registries)


def _listing(registry: Registry) -> str:
    own = registry.own_names()
    library = [name for name in registry.names() if name not in own]
    lines = [f"{registry.kind} ({len(own) + len(library)})"]
    lines += [textwrap.fill(", ".join(names), 100, initial_indent=f"  {whose}: ", subsequent_indent="    ")
              for whose, names in (("own", own), ("library", library)) if names]  # fmt: skip
    return "\n".join(lines)


def describe_component(reference: str) -> str:
    """A component's signature and the first paragraph of its docstring; reference is KIND.NAME."""
    kind, _, name = reference.partition(".")
    registry = REGISTRIES[kind]
    try:
        component = registry.find(name)
    except KeyError:
        near = difflib.get_close_matches(name, registry.names(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"`--list {registry.kind}` shows all"
        raise UserError(f"--describe {reference}: there is no {registry.kind} '{name}'; {hint}") from None
    lines = [f"{registry.kind}.{name}", ""]
    documentation = inspect.cleandoc(component.__doc__ or "")  # getdoc would take the base class's
    lines += [documentation.split("\n\n")[0], ""] if documentation else []
    for key, parameter in parameters_of(component).by_name.items():
        if key in registry.provided:
            continue
        annotation = "" if parameter.annotation in (Any, object) else f": {written(parameter.annotation)}"
        default = "" if parameter.default is inspect.Parameter.empty else f" = {_default(parameter.default)}"
        lines.append(f"  {key}{annotation}{default}{'   (required)' if parameter.required else ''}")
    return "\n".join(lines)


def _default(value: Any) -> str:
    """As a config would say it, where it can."""
    if isinstance(value, enum.Enum):
        return repr(value.name.lower())
    value = value.func if isinstance(value, functools.partial) else value
    return getattr(value, "__name__", repr(value))
