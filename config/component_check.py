"""Component names and arguments against the registries and the signatures behind them."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from .problems import MAX_SHOWN, Path, did_you_mean, found
from .reference import element_of, section_of, words_of
from .schema import Config
from .signature import Parameters, mismatch, parameters_of


class AnyRegistry(Protocol):
    """What this room needs to know of a base.Registry."""

    provided: frozenset[str]
    fills: frozenset[str]

    def names(self) -> list[str]: ...
    def __contains__(self, name: str) -> bool: ...
    def is_own(self, name: str) -> bool: ...
    def find(self, name: str) -> Callable[..., Any]: ...
    def check(self, name: str, args: Mapping[str, Any], /, **keys: Any) -> Iterable[tuple[str, str]]: ...


Found = Iterator[tuple[Path, str]]

# What the program passes to say which split it wants; a dataset's `split_args` may say it in its place.
SPLIT_NAMES = frozenset({"split", "train", "image_set"})
_WORDS_OF_LAMBDA = "a registered function: its name, or {type: NAME, args: {...}}"


def component_problems(data: dict[str, Any], registries: Mapping[str, AnyRegistry]) -> Found:
    """Unknown components, and arguments that are unknown, missing, of a wrong type or the program's own.

    Reads the raw data, so that it also works on a config that breaks the schema, and says nothing of what the
    schema refuses.
    """
    num_problems = 0
    for path, kind, component in _components_in(data, Config, ()):
        for problem in _check(path, component, registries[kind], kind, registries):
            yield problem
            num_problems += 1
        if num_problems > MAX_SHOWN:  # nobody reads more, and finding the nearest names takes its time
            break


def _components_in(value: Any, annotation: Any, path: Path) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Every component of a config, by the schema's word: its path, kind and value."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _components_in(item, element_of(annotation), (*path, index))
    elif isinstance(value, dict):
        section = section_of(annotation)
        if section.kind is not None:
            default = section.model_fields["type"].default  # only the trainer has one
            yield path, section.kind, {"type": default, **value}
        for key, item in value.items():
            if key in section.model_fields:
                yield from _components_in(item, section.model_fields[key].annotation, (*path, key))


def _check(path: Path, component: dict, registry: AnyRegistry, kind: str, registries: Mapping) -> Found:
    name, args = component.get("type"), component.get("args", {})
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][\w-]*", name):
        return
    # A KeyError raised inside a component's own module must keep its traceback, so `in` is asked first.
    if name not in registry:
        names = registry.names()
        is_short = len(names) <= 12
        all_names = f"expected one of: {', '.join(names)}" if is_short else f"`--list {kind}` shows all {len(names)}"
        hint = f"{all_names}{did_you_mean(name, names)}"
        yield (*path, "type"), f"{found(name)}; no {kind.replace('_', ' ')} has this name; {hint}"
        return
    if not isinstance(args, dict):
        return
    parameters = parameters_of(registry.find(name))
    groups = _further_args(path, component)
    provided = _provided(name, parameters, registry, kind)
    problems = list(_check_args((*path, "args"), args, name, parameters, provided, registries))
    for where, group in groups:
        left = provided - SPLIT_NAMES if kind == "dataset" else provided
        problems += _check_args(where, group, name, parameters, left, registries)
    given = {*args, *provided, *registry.fills, *(key for _, group in groups for key in group)}
    for key, parameter in parameters.by_name.items():
        if parameter.required and key not in given:
            expected = _WORDS_OF_LAMBDA if key == "lr_lambda" else words_of(parameter.annotation)
            problems.append(((*path, "args", key), f"missing; {name} needs it: expected {expected}"))
    yield from problems
    if not problems:  # the registry may build the component, so it sees only what fits the signature
        keys = {key: value for key, value in component.items() if key not in ("type", "args")}
        for key, message in registry.check(name, args, **keys):
            yield (*path, key) if key in keys else (*path, "args", *([key] if key else [])), message


def _provided(name: str, parameters: Parameters, registry: AnyRegistry, kind: str) -> frozenset[str]:
    """The arguments that the program passes; not the `split` of a library's dataset that has `train` (EMNIST)."""
    if kind == "dataset" and "train" in parameters.by_name and not registry.is_own(name):
        return registry.provided - {"split"}
    return registry.provided


def _further_args(path: Path, component: dict) -> list[tuple[Path, dict]]:
    """Arguments for parts of a component: by split (dataset), by group of parameters (optimizer)."""
    by_split, by_group = component.get("split_args"), component.get("param_groups")
    groups: list[tuple[Path, Any]] = []
    if isinstance(by_split, dict):
        groups += [((*path, "split_args", split), args) for split, args in by_split.items()]
    for index, group in enumerate(by_group if isinstance(by_group, list) else []):
        groups.append(((*path, "param_groups", index, "args"), group.get("args") if isinstance(group, dict) else None))
    return [(where, args) for where, args in groups if isinstance(args, dict)]


def _check_args(
    path: Path, args: dict, name: str, parameters: Parameters, provided: frozenset[str], registries: Mapping
) -> Found:
    allowed = [key for key in parameters.by_name if key not in provided]
    for key, value in args.items():
        where = (*path, key)
        if key in provided and key in parameters.by_name:
            yield where, f"{found(value)}; the program passes this argument to {name} itself: leave it out"
        elif key not in parameters.by_name:
            if not parameters.is_open:
                takes = f"it takes: {', '.join(allowed)}" if allowed else "it takes none"
                yield where, f"unknown argument of {name}; {takes}{did_you_mean(key, allowed)}"
        elif key == "lr_lambda" and "lr_lambda" in registries:
            yield from _check_lambda(where, value, registries)
        elif reason := mismatch(value, parameters.annotation(key)):
            yield where, f"{found(value)}; {reason}"


def _check_lambda(path: Path, value: Any, registries: Mapping) -> Found:
    """The function of LambdaLR and MultiplicativeLR, which a config names; a list: one a parameter group."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check_lambda((*path, index), item, registries)
    elif isinstance(value, str):
        for where, message in _check(path, {"type": value}, registries["lr_lambda"], "lr_lambda", registries):
            yield path if where == (*path, "type") else where, message
    elif isinstance(value, dict) and isinstance(value.get("type"), str) and not value.keys() - {"type", "args"}:
        yield from _check(path, value, registries["lr_lambda"], "lr_lambda", registries)
    else:
        yield path, f"{found(value)}; expected {_WORDS_OF_LAMBDA}"
