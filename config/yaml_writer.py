"""Writes plain data as YAML that both YAML 1.1 and 1.2 readers read back as the same data."""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from .problems import Origin, Path
from .yaml_builder import resolve_scalar


class _Dumper(yaml.SafeDumper):
    """Quotes texts that YAML 1.2 takes for numbers (1e-3), beside those that YAML 1.1 would (on, off)."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    try:
        is_text = isinstance(resolve_scalar(text), str)
    except ValueError:
        is_text = False
    style = '"' if not text.isprintable() else None if is_text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent_text)


def write_yaml(data: Any) -> str:
    """Plain data as YAML, in its own order."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def write_annotated(data: Mapping[str, Any], origins: Mapping[Path, Origin]) -> str:
    """The data as YAML, one value a line, each with a comment that names its origin."""
    lines = list(_lines(data, (), "", origins))
    width = min(60, max(len(line) for line, _ in lines))
    return "".join(f"{line:<{width}}  # {comment}\n" if comment else f"{line}\n" for line, comment in lines)


def _lines(value: Any, path: Path, indent: str, origins: Mapping[Path, Origin]) -> Iterator[tuple[str, str]]:
    """Pairs of a line and its comment for the entries of a mapping, or the items of a list."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        start, here = ("-" if isinstance(key, int) else f"{write_inline(key)}:"), (*path, key)
        if not _is_block(item):
            yield f"{indent}{start} {write_inline(item)}", _comment(here, origins)
        elif start == "-" and isinstance(item, dict):
            # The first key of a mapping stands behind the dash.
            for number, (line, comment) in enumerate(_lines(item, here, f"{indent}  ", origins)):
                yield (f"{indent}- {line[len(indent) + 2 :]}" if number == 0 else line), comment
        else:
            yield f"{indent}{start}", ""
            yield from _lines(item, here, f"{indent}  ", origins)


def _is_block(value: Any) -> bool:
    """Whether a value takes lines of its own: mappings, and lists that hold any."""
    return bool(value) and (isinstance(value, dict) or (isinstance(value, list) and any(map(_is_block, value))))


def write_inline(value: Any) -> str:
    """A value in flow style on one line."""
    text = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=float("inf"),
    )
    return text.removesuffix("\n").removesuffix("\n...")


def _comment(path: Path, origins: Mapping[Path, Origin]) -> str:
    if path not in origins:
        return "default"
    origin = origins[path]
    return str(origin) if origin.line else f"override {origin}"
