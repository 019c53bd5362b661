"""A component's name and arguments against the registry that knows it and the signature behind it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from base.signature import Parameters, mismatch, parameters_of
from config.problems import Path, did_you_mean, found
from config.reference import words_of

if TYPE_CHECKING:
    from base.registry import Registry

Found = Iterator[tuple[Path, str]]  # a place in the component, and what is wrong there

# What the program passes to say which split it wants; a dataset's `split_args` may say it in its place.
SPLIT_NAMES = frozenset({"split", "train", "image_set"})
_REFERENCE = "a registered function: its name, or {type: NAME, args: {...}}"


def component_problems(registry: Registry, component: Mapping[str, Any]) -> Found:
    """An unknown name, and arguments that are unknown, missing, of a wrong type or the program's own.

    component: `type`, `args` and what else a config says of it, as it was written. What the schema refuses is left to
    it.
    """
    name, args = component.get("type"), component.get("args", {})
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][\w-]*", name) or not isinstance(args, dict):
        return
    if name not in registry:  # asked first: a KeyError inside a component's own module must keep its traceback
        yield ("type",), _unknown(registry, name)
        return
    parameters = parameters_of(registry.find(name))
    provided = registry.provided
    if registry.kind == "dataset" and "train" in parameters.by_name and not registry.is_own(name):
        provided -= {"split"}  # of EMNIST, which has both, it is something else
    groups = _further_args(component)
    problems = list(_check_args(("args",), args, name, parameters, provided, registry.references))
    for where, group in groups:
        passed = provided - SPLIT_NAMES if where[0] == "split_args" else provided
        problems += _check_args(where, group, name, parameters, passed, registry.references)
    given = {*args, *provided, *registry.fills, *(key for _, group in groups for key in group)}
    for key, parameter in parameters.by_name.items():
        if parameter.required and key not in given:
            expected = _REFERENCE if key in registry.references else words_of(parameter.annotation)
            problems.append((("args", key), f"missing; {name} needs it: expected {expected}"))
    yield from problems
    if not problems:  # the registry may build the component, so it sees only what fits the signature
        keys = {key: value for key, value in component.items() if key not in ("type", "args")}
        for key, message in registry.check(name, args, **keys):
            yield (key,) if key in keys else ("args", *([key] if key else [])), message


def _unknown(registry: Registry, name: str) -> str:
    names, kind = registry.names(), registry.kind
    shown = f"expected one of: {', '.join(names)}" if len(names) <= 12 else f"`--list {kind}` shows all {len(names)}"
    return f"{found(name)}; no {kind.replace('_', ' ')} has this name; {shown}{did_you_mean(name, names)}"


def _further_args(component: Mapping[str, Any]) -> list[tuple[Path, dict]]:
    """Arguments for parts of a component: by split (dataset), by group of parameters (optimizer)."""
    by_split, by_group = component.get("split_args"), component.get("param_groups")
    groups: list[tuple[Path, Any]] = []
    if isinstance(by_split, dict):
        groups += [(("split_args", split), args) for split, args in by_split.items()]
    for index, group in enumerate(by_group if isinstance(by_group, list) else []):
        groups.append((("param_groups", index, "args"), group.get("args") if isinstance(group, dict) else None))
    return [(where, args) for where, args in groups if isinstance(args, dict)]


def _check_args(
    path: Path,
    args: dict,
    name: str,
    parameters: Parameters,
    provided: frozenset[str],
    references: Mapping[str, Registry],
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
        elif key in references:
            yield from _check_reference(where, value, references[key])
        elif reason := mismatch(value, parameters.annotation(key)):
            yield where, f"{found(value)}; {reason}"


def _check_reference(path: Path, value: Any, registry: Registry) -> Found:
    """A component that an argument names; a list: one a parameter group."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check_reference((*path, index), item, registry)
        return
    component = {"type": value} if isinstance(value, str) else value
    is_component = isinstance(component, dict) and not component.keys() - {"type", "args"}
    if not is_component or not isinstance(component.get("type"), str):
        yield path, f"{found(value)}; expected {_REFERENCE}"
        return
    for where, message in component_problems(registry, component):
        yield (path if isinstance(value, str) and where == ("type",) else (*path, *where)), message
