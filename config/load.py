"""YAML files and overrides -> one checked Config, with everything that is wrong reported at once."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from .layers import Document, Layer, apply_override, merge
from .problems import ConfigError, Origin, Problem
from .yaml_builder import MAX_DEPTH, MAX_NODES, paths_below
from .yaml_reader import read_file

if TYPE_CHECKING:  # pydantic takes its time, and a file that cannot be read needs none of it
    from .component_check import AnyRegistry
    from .schema import Config

    LoadRegistries = Callable[[], Mapping[str, AnyRegistry]]


def read_config(files: Iterable[str], overrides: Iterable[str] = ()) -> Document:
    """Lay the files over each other in order, then the overrides (`KEY=VALUE` or a short form, as typed).

    Raises ConfigError when a file is not a mapping that can be read; smaller mistakes wait for check_config,
    so that all are reported together.
    """
    files = list(files)
    layers = [read_file(file) for file in files]
    assert layers, "a config has at least one file"
    problems = [problem for layer in layers for problem in layer.problems]
    if not all(layer.is_readable for layer in layers):
        raise ConfigError(problems)
    document = Document({}, {(): layers[0].origins[()]}, problems)
    for layer in layers:
        merge(document, layer)
    for override in overrides:
        apply_override(document, override)
    document.data.setdefault("name", FilePath(files[0]).stem)
    return document


def document_from(data: Any, origin: str, overrides: Iterable[str] = ()) -> Document:
    """A config that was stored elsewhere (a checkpoint) with overrides laid over it. Raises ConfigError."""
    source = Origin(origin)
    reason = _why_not_plain(data, MAX_DEPTH, [MAX_NODES])
    if reason or not isinstance(data, dict):
        raise ConfigError([Problem(source, (), f"the config in it cannot be used: {reason or 'it is not a mapping'}")])
    document = Document({}, {(): source}, [])
    origins = dict.fromkeys([(), *paths_below(data, ())], source)
    merge(document, Layer(data, origins, [], True))
    for override in overrides:
        apply_override(document, override)
    return document


def check_config(document: Document, load_registries: "LoadRegistries | None" = None) -> "Config":
    """The checked config. Raises ConfigError with everything that is wrong, in the files' order.

    load_registries: returns the registries by kind, to check component names and arguments too. As that imports torch,
    it is not called where something else is wrong and a look at the sources shows that the components are right.
    """
    from .component_check import component_problems
    from .quick_look import surely_right
    from .rules import rule_problems
    from .schema_check import check_schema

    config, problems, bad_paths = check_schema(document)
    badly_written = {problem.path for problem in document.problems}
    problems = [problem for problem in problems if problem.path not in badly_written]
    problems += [*document.problems, *rule_problems(document, bad_paths)]
    if load_registries is not None and not (problems and surely_right(document)):
        problems += component_problems(document, load_registries())
    if problems:
        raise ConfigError(problems)
    assert config is not None
    return config


def plain(config: "Config") -> dict[str, Any]:
    """The config as plain data, defaults written out: what config.yaml and the checkpoint hold."""
    return config.model_dump()


def dump_config(config: "Config") -> str:
    """The config as YAML text; reading it back gives the same config."""
    from .yaml_writer import write_yaml

    return write_yaml(plain(config))


def annotated_config(config: "Config", document: Document) -> str:
    """The config as YAML text, each value with a comment that says where it was written."""
    from .yaml_writer import write_annotated

    return write_annotated(plain(config), document.origins)


def _why_not_plain(value: Any, depth: int, nodes_left: list[int]) -> str | None:
    """Why foreign data is not what a YAML file could hold, or None."""
    nodes_left[0] -= 1
    if depth < 0 or nodes_left[0] < 0:
        return "it is nested too deep or too large"
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            return "it has a key that is not text"
        children: Iterable[Any] = value.values()
    elif isinstance(value, list):
        children = value
    elif value is None or isinstance(value, (bool, int, float, str)):
        return None
    else:
        return f"it holds an object ({type(value).__name__})"
    return next((reason for child in children if (reason := _why_not_plain(child, depth - 1, nodes_left))), None)
