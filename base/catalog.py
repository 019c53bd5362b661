"""What --list and --describe show, the components that a config can name; and the table of its keys in docs/config.md.

`python -m base.catalog` prints that table.
"""

from __future__ import annotations

import enum
import functools
import inspect
import textwrap
from typing import Annotated, Any

from base.discovery import BROKEN, why_broken
from base.registries import REGISTRIES
from base.registry import Registry
from base.signature import parameters_of
from config.problems import Path, did_you_mean, dotted
from config.reference import SECTIONS, words_of
from config.schema import ComponentConfig, Section
from config.yaml_writer import write_yaml
from utils.errors import UserError


def list_components(kind: str) -> str:
    """The names of one kind, or of every kind ("all"): the project's own first, then the library's."""
    registries = REGISTRIES.values() if kind == "all" else [_registry_of(kind, f"--list {kind}")]
    broken = [f"{file} cannot be imported:\n{why_broken(file)}" for file in BROKEN]
    return "\n\n".join([*map(_listing, registries), *broken])


def _registry_of(kind: str, typed: str) -> Registry:
    """The registry of a kind, plurals understood; UserError, which begins with what was typed, when there is none."""
    singulars = (kind, kind.removesuffix("s"), kind.removesuffix("es"))
    found = next((REGISTRIES[name] for name in singulars if name in REGISTRIES), None)
    if found is None:
        expected = f"{', '.join(REGISTRIES)}{did_you_mean(kind, REGISTRIES)}"
        raise UserError(f"{typed}: found the kind {kind!r}; expected one of: {expected}")
    return found


def _listing(registry: Registry) -> str:
    own = registry.own_names()
    library = [name for name in registry.names() if name not in own]
    lines = [f"{registry.kind} ({len(own) + len(library)})"]
    lines += [textwrap.fill(", ".join(names), 100, initial_indent=f"  {whose}: ", subsequent_indent="    ")
              for whose, names in (("own", own), ("library", library)) if names]  # fmt: skip
    return "\n".join(lines)


def describe_component(reference: str) -> str:
    """A component's signature and the first paragraph of its docstring; reference is KIND.NAME."""
    typed = f"--describe {reference}"
    kind, _, name = reference.partition(".")
    if not name:
        raise UserError(f"{typed}: expected KIND.NAME, such as model.resnet18; KIND: {', '.join(REGISTRIES)}")
    registry = _registry_of(kind, typed)
    if name not in registry:
        hint = did_you_mean(name, registry.names()) or f"; `--list {registry.kind}` shows all"
        raise UserError(f"{typed}: there is no {registry.kind} '{name}'{hint}")
    component = registry.find(name)
    lines = [f"{registry.kind}.{name}", ""]
    documentation = inspect.cleandoc(component.__doc__ or "")  # getdoc would take the base class's
    lines += [documentation.split("\n\n")[0], ""] if documentation else []
    for key, parameter in parameters_of(component).by_name.items():
        if key not in registry.provided:
            default = "required" if parameter.required else f"default {_default(parameter.default)}"
            lines.append(f"  {key}: {words_of(parameter.annotation)} ({default})")
    return "\n".join(lines)


def _default(value: Any) -> str:
    """As a config would say it, where it can."""
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if value is None or isinstance(value, (bool, int, float, str, list, tuple)):
        return write_yaml(list(value) if isinstance(value, tuple) else value).splitlines()[0]
    value = value.func if isinstance(value, functools.partial) else value
    return getattr(value, "__name__", repr(value))


def reference() -> str:
    """Markdown: a table for each section of the config with key, what it takes, default and meaning."""
    paths: dict[type[Section], Path] = {}
    for path, section in SECTIONS.items():
        paths.setdefault(section, path)  # a list of schedulers has the keys of a lone one
    tables = [_table(section, dotted(path).replace(".0", ".N")) for section, path in paths.items()]
    component = _table(ComponentConfig, "a component (TYPE alone stands for {type: TYPE})")
    return "\n\n".join([*filter(None, tables), component]) + "\n"


def _table(section: type[Section], title: str) -> str:
    """The keys of a section but for what every component has, which is told once; nothing where no key is left."""
    defaults = section.model_construct().model_dump(warnings=False)
    is_component = issubclass(section, ComponentConfig) and section is not ComponentConfig
    rows = []
    for name, field in section.model_fields.items():
        if is_component and name in ComponentConfig.model_fields:
            continue
        takes, default = words_of(Annotated[field.annotation, field]), "required"
        if takes.startswith("a mapping with "):
            takes, default = "a mapping, see below", default if field.is_required() else ""
        elif not field.is_required():
            default = write_yaml(defaults[name]).splitlines()[0]
        cells = (f"`{name}`", takes, default, field.description)
        rows.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    title = f"{title or 'Top level'}{': a component with' if is_component else ''}"
    header = f"**{title}**\n\n| key | takes | default | meaning |\n|---|---|---|---|"
    return "\n".join([header, *rows]) if rows else ""


if __name__ == "__main__":
    print(reference(), end="")
