"""What is wrong with a config: where it stands, what was found, what is allowed."""

import difflib
import math
from collections.abc import Iterable
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
    """Everything that is wrong with a config, one line a problem, in the order of the files."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        # Files by line, then what has no line: overrides.
        self.problems = sorted(dict.fromkeys(problems), key=lambda problem: (problem.origin.line == 0, problem.origin))
        shown = [str(problem) for problem in self.problems[:MAX_SHOWN]]
        if len(self.problems) > MAX_SHOWN:
            shown.append(f"... and {len(self.problems) - MAX_SHOWN:,} more")
        super().__init__("\n".join(shown))


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
        return "[...]" if value else "[]"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}...{text[-10:]}"


def found(value: Any) -> str:
    """`found 'ten' (text)`: the value and its type in words."""
    kinds = {bool: "", type(None): "", int: "a whole number", float: "a number", str: "text", list: "a list",
             dict: "a mapping"}  # fmt: skip
    kind = kinds.get(type(value), type(value).__name__)
    return f"found {describe(value)} ({kind})" if kind else f"found {describe(value)}"


def nearest(name: Any, allowed: Iterable[str]) -> str | None:
    """The allowed name that was probably meant, whatever its case."""
    by_lower = {known.lower(): known for known in allowed}
    near = difflib.get_close_matches(str(name).lower()[:100], by_lower, n=1, cutoff=0.6)
    return by_lower[near[0]] if near else None


def did_you_mean(name: Any, allowed: Iterable[str]) -> str:
    """`; did you mean 'epochs'?` when one of the allowed names is near, else nothing."""
    near = nearest(name, allowed)
    return f"; did you mean {near!r}?" if near is not None else ""
