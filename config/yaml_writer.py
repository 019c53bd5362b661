"""Writes plain data as YAML that both YAML 1.1 and 1.2 readers read back as the same data."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from .problems import Origin, Path
from .yaml_reader import resolve_scalar


class _Dumper(yaml.SafeDumper):
    """Quotes texts that YAML 1.2 takes for numbers (1e-3), beside those that YAML 1.1 would (on, off)."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    is_text = isinstance(resolve_scalar(text), str)
    style = '"' if not text.isprintable() else None if is_text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


def _represent_mapping(dumper: yaml.SafeDumper, data: dict[str, Any]) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", data, flow_style=not data)  # one key a line


_Dumper.add_representer(str, _represent_text)
_Dumper.add_representer(dict, _represent_mapping)


def write_yaml(data: Any) -> str:
    """Plain data as YAML, in its own order; a list of plain values stands on one line."""
    return yaml.dump(data, None, _Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=math.inf)


def write_annotated(data: Mapping[str, Any], origins: Mapping[Path, Origin]) -> str:
    """The data as YAML, one value a line, each with a comment that names its origin."""
    text = write_yaml(data)
    paths = dict(paths_by_line(yaml.compose(text, Loader=yaml.SafeLoader), ()))
    lines = text.splitlines()
    width = min(60, max(map(len, lines)))
    return "".join(
        f"{line:<{width}}  # {_comment(origins.get(paths[number]))}\n" if number in paths else f"{line}\n"
        for number, line in enumerate(lines)
    )


def paths_by_line(node: yaml.Node, path: Path) -> Iterator[tuple[int, Path]]:
    """The line and path of each value that is written on one line."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        for key, value in node.value:
            yield from paths_by_line(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode) and not node.flow_style:
        for index, value in enumerate(node.value):
            yield from paths_by_line(value, (*path, index))
    else:
        yield node.start_mark.line, path


def _comment(origin: Origin | None) -> str:
    if origin is None:
        return "default"
    return str(origin) if origin.line else f"override {origin}"
