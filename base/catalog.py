"""What --list and --describe show: the components that a config can name."""

from __future__ import annotations

import difflib
import inspect
import textwrap

from base.registry import REGISTRIES, Registry
from config.signature import parameters_of
from utils.errors import UserError


def list_components(kind: str | None = None) -> str:
    """The names of one kind, or of every kind: the project's own first, then the library's."""
    registries = [find_registry(kind)] if kind else list(REGISTRIES.values())
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
    registry = find_registry(kind)
    try:
        component = registry.find(name)
    except KeyError:
        near = difflib.get_close_matches(name, registry.names(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"`--list {registry.kind}` shows all"
        raise UserError(f"--describe {reference}: there is no {registry.kind} '{name}'; {hint}") from None
    lines = [f"{registry.kind}.{name}", ""]
    documentation = inspect.getdoc(component) or ""
    lines += [documentation.split("\n\n")[0], ""] if documentation else []
    for key, parameter in parameters_of(component).by_name.items():
        if key in registry.provided:
            continue
        annotation = inspect.formatannotation(parameter.annotation)
        kept = (
            ""
            if parameter.annotation in (inspect.Parameter.empty, object) or annotation == "Any"
            else f": {annotation}"
        )
        default = "" if parameter.default is inspect.Parameter.empty else f" = {parameter.default!r}"
        lines.append(f"  {key}{kept}{default}{'   (required)' if parameter.required else ''}")
    return "\n".join(lines)


def find_registry(kind: str) -> Registry:
    """The registry of a kind; plurals are understood."""
    if kind in REGISTRIES:
        return REGISTRIES[kind]
    singular = {"losses": "loss"}.get(kind, kind.removesuffix("s"))
    if singular in REGISTRIES:
        return REGISTRIES[singular]
    near = difflib.get_close_matches(kind, REGISTRIES, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(f"there is no kind of component '{kind}'; there are {', '.join(REGISTRIES)}{hint}")
