"""What is wrong with a config: where it stands, what was found, what is allowed."""

import difflib
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

MAX_SHOWN = 100
Path = tuple[str | int, ...]


class Origin(NamedTuple):
    """Where a value was written: file and line, or the text of an override (line 0)."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Problem(NamedTuple):
    """One mistake: `config/x.yaml:12: trainer.epochs: found 'ten' (text); expected a whole number >= 1`."""

    origin: Origin
    path: Path
    message: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (str(self.origin), dotted(self.path), self.message)))


class ConfigError(ValueError):
    """Everything that is wrong with a config, one line a problem.

    is_told: whether the lines have been shown already, each as it was found.
    """

    def __init__(self, problems: Iterable[Problem], is_told: bool = False) -> None:
        self.problems = list(problems)
        self.is_told = is_told
        super().__init__("\n".join(lines_of(self.problems)))


def lines_of(problems: Iterable[Problem]) -> Iterator[str]:
    """What is shown of problems, each line as soon as its problem is found: at most MAX_SHOWN, and how many follow."""
    count = 0
    for count, problem in enumerate(problems, 1):
        if count <= MAX_SHOWN:
            yield str(problem)
    if count > MAX_SHOWN:
        yield f"... and {count - MAX_SHOWN:,} more"


def in_file_order(problems: Iterable[Problem]) -> list[Problem]:
    """Each problem once: those of files by line, then what has no line, overrides."""
    return sorted(dict.fromkeys(problems), key=lambda problem: (problem.origin.line == 0, problem.origin))


def dotted(path: Path) -> str:
    """A path as it is written in an override: `metrics.0.args.k`."""
    parts = [str(key)[:100] for key in path]
    return ".".join(part if part.isprintable() else repr(part) for part in parts)


def describe(value: Any) -> str:
    """A value as a person would write it, cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    if isinstance(value, dict):
        return "{...}" if value else "{}"
    if isinstance(value, list):
        items = ", ".join(map(describe, value[:10]))
        return f"[{items}]" if len(value) <= 10 and len(items) <= 60 else "[...]"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}...{text[-10:]}"


def found(value: Any) -> str:
    """`found 'ten' (text)`: the value and its type in words."""
    kinds = {int: " (a whole number)", float: " (a number)", str: " (text)", list: " (a list)", dict: " (a mapping)"}
    return f"found {describe(value)}{kinds.get(type(value), '')}"


def nearest(name: Any, allowed: Iterable[str], at_most: int = 1, cutoff: float = 0.6) -> list[str]:
    """The allowed names that were probably meant, whatever their case, the nearest first."""
    by_lower = {known.lower(): known for known in allowed}
    near = difflib.get_close_matches(str(name).lower()[:100], by_lower, at_most, cutoff)
    return [by_lower[lower] for lower in near]


def did_you_mean(name: Any, allowed: Iterable[str]) -> str:
    """`; did you mean 'epochs'?` when one of the allowed names is near, else nothing."""
    near = nearest(name, allowed)
    return f"; did you mean {near[0]!r}?" if near else ""
