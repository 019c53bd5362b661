"""A component's name and arguments against the registry that knows it and the signature behind it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from base.conversion import mismatch
from base.discovery import BROKEN, broken_file, definitions_of, why_broken
from base.signature import Parameters, parameters_of
from config.problems import Path, did_you_mean, found
from config.reference import words_of
from utils.errors import UserError
from utils.torch_internals import without_compiler

if TYPE_CHECKING:
    from base.registry import Registry

Found = Iterator[tuple[Path, str]]  # a place in the component, and what is wrong there

# What the program passes to say which split it wants; a dataset's `split_args` may say it in its place.
SPLIT_NAMES = frozenset({"split", "train", "image_set"})
LARGEST_NORM = ("p", math.inf)  # the one number without end that a library's argument takes
_REFERENCE = "a registered function: its name, or {type: NAME, args: {...}}"


def component_problems(registry: Registry, component: Mapping[str, Any]) -> Found:
    """An unknown name, and arguments that are unknown, missing, of a wrong type or the program's own.

    component: `type`, `args` and what else a config says of it, as it was written. What the schema refuses is left to
    it.
    """
    name, args = component.get("type"), component.get("args", {})
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_][\w-]*", name) or not isinstance(args, dict):
        return
    # Asked first: a KeyError inside a component's own module must keep its traceback.
    if name not in registry or (BROKEN and name not in registry.users and _is_in_broken_file(name)):
        yield ("type",), _unknown(registry, name)
        return
    parameters = parameters_of(registry.find(name))
    provided = registry.provided
    if registry.kind == "dataset" and "train" in parameters.by_name and not registry.is_own(name):
        provided -= {"split"}  # of EMNIST, which has both, it is something else
    groups = _further_args(component)
    problems = list(_check_args(("args",), args, name, parameters, provided, registry))
    for where, group in groups:
        passed = provided - SPLIT_NAMES if where[0] == "split_args" else provided
        problems += _check_args(where, group, name, parameters, passed, registry)
    given = {*args, *provided, *registry.fills, *(key for _, group in groups for key in group)}
    for key, parameter in parameters.by_name.items():
        if parameter.required and key not in given:
            expected = _REFERENCE if key in registry.references else words_of(parameter.annotation)
            problems.append((("args", key), f"missing; {name} needs it: expected {expected}"))
    yield from problems
    if not problems:  # the registry may build the component, so it sees only what fits the signature
        keys = {key: value for key, value in component.items() if key not in ("type", "args")}
        for key, message in registry.check(name, args, **keys):
            yield (key,) if key in keys or key == "type" else ("args", key), message
        yield from _refusals(registry, name, args, groups)


def _is_in_broken_file(name: str) -> bool:
    """Whether a component of the user's of this name could not be imported: the one that there is would be another."""
    return any(broken_file(file) for file, _ in definitions_of(name))


def _unknown(registry: Registry, name: str) -> str:
    names, kind = registry.names(), registry.kind
    if reason := registry.left_out.get(name):
        return f"{found(name)}; no config can name it: {reason}"
    if name.isidentifier() and (found_in := sorted(definitions_of(name), key=lambda found: not broken_file(found[0]))):
        file, is_imported = found_in[0]
        if broken := broken_file(file):
            which = "which" if broken == file else f"but {broken}"
            return f"{found(name)}; it is defined in {file}, {which} cannot be imported:\n{why_broken(broken)}"
        decorator = f"@{kind.upper()}{'ES' if kind.endswith('s') else 'S'}.register"
        why = f"lacks {decorator}" if is_imported else f"is never imported: {_remedy_of_unimported(file)}"
        return f"{found(name)}; it is defined in {file}, but {why}"
    shown = f"expected one of: {', '.join(names)}" if len(names) <= 12 else f"`--list {kind}` shows all {len(names)}"
    return f"{found(name)}; no {kind.replace('_', ' ')} has this name; {shown}{did_you_mean(name, names)}"


def _remedy_of_unimported(file: str) -> str:
    room, *folders, _ = file.split("/")
    if not folders:
        return "give it a name without a dot"
    return f"import it in {room}/{folders[0]}/__init__.py, or move it up into {room}/"


def _refusal(registry: Registry, name: str, args: dict) -> str | None:
    """Why a library's constructor refuses the arguments, tried with stand-ins for what the program passes."""
    if registry.trial is None or registry.is_own(name):
        return None
    known = parameters_of(registry.find(name)).by_name
    with without_compiler():  # an optimizer may stand in
        stand_ins = {key: value for key, value in registry.trial(args).items() if key in known}
    try:
        registry.build(name, {key: value for key, value in args.items() if key not in stand_ins}, **stand_ins)
    except UserError as error:
        return str(error)
    return None


def _refusals(registry: Registry, name: str, args: dict, groups: list[tuple[Path, dict]]) -> Found:
    """What the constructor refuses: of the arguments, or of those that a group has in place of some."""
    if message := _refusal(registry, name, args):
        yield _place(registry, name, ("args",), {}, args), message
        return
    for where, group in groups:
        if message := _refusal(registry, name, {**args, **group}):
            yield _place(registry, name, where, args, group), message


def _place(registry: Registry, name: str, where: Path, args: dict, refused: dict) -> Path:
    """The one argument without which the constructor takes the others; all of them where there is none such."""

    def without(key: str) -> dict:
        return {**args, **{other: value for other, value in refused.items() if other != key}}

    culprits = [key for key in refused if len(refused) == 1 or _refusal(registry, name, without(key)) is None]
    return (*where, culprits[0]) if len(culprits) == 1 else where


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
    registry: Registry,
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
        elif key in registry.references:
            yield from _check_reference(where, value, registry.references[key])
        elif reason := mismatch(value, parameters.annotation(key)):
            yield where, f"{found(value)}; {reason}"
        elif _is_endless(value) and not (_is_endless(parameters.by_name[key].default) or (key, value) == LARGEST_NORM):
            yield where, f"{found(value)}; expected finite numbers, whole ones below 2**63"


def _is_endless(value: Any) -> bool:
    """Whether nan, infinity, or a whole number that no tensor holds is in a value."""
    if isinstance(value, (list, tuple, dict)):
        return any(map(_is_endless, value.values() if isinstance(value, dict) else value))
    if isinstance(value, int):
        return abs(value) >= 2**63
    return isinstance(value, float) and not math.isfinite(value)


def _check_reference(path: Path, value: Any, registry: Registry) -> Found:
    """A component that an argument names; a list: one a parameter group."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _check_reference((*path, index), item, registry)
        return
    component = {"type": value} if isinstance(value, str) else value
    name, args = (component.get("type"), component.get("args", {})) if isinstance(component, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(args, dict) or component.keys() - {"type", "args"}:
        yield path, f"{found(value)}; expected {_REFERENCE}"
    elif name not in registry:
        yield path if isinstance(value, str) else (*path, "type"), _unknown(registry, name)
    else:
        yield from (((*path, *where), message) for where, message in component_problems(registry, component))
