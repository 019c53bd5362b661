"""What a sweep searches: ranges and choices of keys, from the command line or a YAML file, checked before any trial."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

from base.registries import DATA_PATH
from config.load import check_config, problems_in, read_config
from config.problems import ConfigError, Origin, Problem, describe, did_you_mean, in_file_order, lines_of
from config.schema import Config
from config.yaml_reader import Document, read_file, read_text, resolve_scalar
from trained import DIVIDING

RANGES = ("log", "uniform", "int")
# What no search may change, and why.
ELSEWHERE = {"name": "a sweep has one", "trainer.save_dir": "a sweep has one", "seed": "--seeds K repeats runs"}
INCOMPARABLE = (
    *("metrics", "trainer.monitor", "trainer.eval_every", "trainer.max_time", "dataset.type", "dataset.split_args"),
    *("data_loader.validation_split", "data_loader.fold", "data_loader.limit_batches", "data_loader.overfit_batches"),
    *(f"dataset.args.{name}" for name in DIVIDING),
)


class Dimension(NamedTuple):
    """A key that is searched. kind: one of RANGES, from low to high; or choice, of values as JSON."""

    key: str
    kind: str
    low: float
    high: float
    choices: list[str]
    origin: Origin

    @property
    def texts(self) -> list[str]:
        """Values to check, as they are set: of a range, where it begins and ends."""
        return self.choices or [json.dumps(self.low), json.dumps(self.high)]

    def __str__(self) -> str:
        told = f"one of {', '.join(self.choices)}" if self.choices else f"{self.kind}({self.low:g}, {self.high:g})"
        return f"{self.key}: {told}"

    def as_data(self) -> dict[str, Any]:
        """Plain data by which it is known again."""
        return {"kind": self.kind, **({"choices": self.choices} if self.choices else self._bounds())}

    def _bounds(self) -> dict[str, float]:
        return {"low": self.low, "high": self.high}


def read_space(given: Sequence[str], file: str | None) -> tuple[list[Dimension], list[Problem]]:
    """The dimensions that the command line (KEY=RANGE) and a file give, and what is wrong with others.

    ConfigError for a file that cannot be read.
    """
    written: list[tuple[str, Any, Origin]] = []
    problems: list[Problem] = []
    if file is not None:
        document = read_file(file)
        problems += document.problems
        written += [(key, value, document.origin((key,))) for key, value in document.data.items()]
    for text in given:
        key, _, value = text.partition("=")
        is_list = value.strip().startswith("[")
        try:
            written.append((key.strip(), read_text(value, text, (key,)).data if is_list else value, Origin(text)))
        except ConfigError as error:
            problems += error.problems
    dimensions: list[Dimension] = []
    for key, value, origin in written:
        try:
            dimensions.append(_dimension(key, value, origin))
        except ValueError as error:
            problems.append(Problem(origin, (key,), str(error)))
    for first, second in combinations(dimensions, 2):
        if _overlap(first.key, second.key):
            problems.append(Problem(second.origin, (second.key,), f"overlaps with {first.key}: search one of them"))
    return dimensions, problems


def _dimension(key: str, value: Any, origin: Origin) -> Dimension:
    """ValueError where it is none."""
    if isinstance(value, list):
        choices = [json.dumps(item) for item in value]
        if len({*choices}) < max(2, len(choices)):
            remedy = "; a list that is a value goes before --trials" if len(choices) > 1 else ""
            raise ValueError(f"found {describe(value)}; expected at least two choices, each once{remedy}")
        return Dimension(key, "choice", math.nan, math.nan, choices, origin)
    match = re.fullmatch(r"\s*(\w+)\s*\((.*)\)\s*", value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"found {describe(value)}; expected log(LOW, HIGH), uniform(...), int(...) or [A, B]")
    kind, bounds = match[1], [resolve_scalar(part.strip()) for part in match[2].split(",")]
    if kind not in RANGES:
        raise ValueError(f"found {describe(value)}; expected log, uniform or int{did_you_mean(kind, RANGES)}")
    types = (int,) if kind == "int" else (int, float)
    if len(bounds) != 2 or not all(type(bound) in types and math.isfinite(bound) for bound in bounds):
        raise ValueError(f"found {describe(value)}; expected two {'whole ' if kind == 'int' else ''}numbers")
    low, high = bounds if kind == "int" else map(float, bounds)
    if low >= high or (kind == "log" and low <= 0):
        expected = "0 < LOW < HIGH" if kind == "log" else "LOW < HIGH"
        raise ValueError(f"found {describe(value)}; expected {expected}")
    return Dimension(key, kind, low, high, [], origin)


def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def check_space(
    files: Sequence[str],
    overrides: Sequence[str],
    space: Sequence[Dimension],
    problems: Sequence[Problem],
    load_registries: Callable[[], Mapping[str, Any]],
    tell: Callable[[str], Any],
) -> Config:
    """The config with the first value of each dimension. ConfigError, told, with `problems` and all else that is wrong.

    Each value is checked, with the first of the other dimensions.
    """
    refused = [*problems, *_refused(overrides, space)]
    firsts = [f"{dimension.key}={dimension.texts[0]}" for dimension in space]
    document = read_config(files, [*overrides, *firsts])
    placed = {f"{each.key}={text}": each.origin for each in space for text in each.texts}
    found = [*refused, *_placed(problems_in(document, load_registries), placed)]
    if not found:
        config = check_config(document)
        found = [*_unmonitored(config, document), *_incomparable(config, space)]
        for dimension in space:
            for text in dimension.texts[1:]:
                others = [first for first in firsts if first.partition("=")[0] != dimension.key]
                document = read_config(files, [*overrides, *others, f"{dimension.key}={text}"])
                found += _placed(problems_in(document, load_registries), placed)
    if found:
        found = in_file_order(found)
        for line in lines_of(found):
            tell(line)
        raise ConfigError(found, is_told=True)
    return config


def _placed(problems: Iterator[Problem], origins: Mapping[str, Origin]) -> Iterator[Problem]:
    """The problems where they were written: the range in place of the value."""
    for origin, path, message in problems:
        yield Problem(origins.get(origin.source, origin), path, message)


def _refused(overrides: Sequence[str], space: Sequence[Dimension]) -> Iterator[Problem]:
    for dimension in space:
        key = dimension.key
        for override in overrides:
            if _overlap(key, override.partition("=")[0].strip()):
                yield Problem(dimension.origin, (key,), f"searched, and set by {override!r}: leave one of them out")
        for other, reason in ELSEWHERE.items():
            if _overlap(key, other):
                yield Problem(dimension.origin, (key,), f"is not searched: {reason}")
        is_path = key.startswith("dataset.args.") and DATA_PATH.fullmatch(key.removeprefix("dataset.args."))
        if is_path or any(_overlap(key, other) for other in INCOMPARABLE):
            yield Problem(
                dimension.origin, (key,), "is not searched: trials would be scored on other data, or otherwise"
            )


def _unmonitored(config: Config, document: Document) -> Iterator[Problem]:
    monitor, path = config.trainer.monitor, ("trainer", "monitor")
    if monitor is None or not monitor.metric.startswith("val_"):
        message = f"found '{monitor or 'off'}'; expected a score of the validation part, by which trials are compared"
        yield Problem(document.origin(path), path, message)


def _incomparable(config: Config, space: Sequence[Dimension]) -> Iterator[Problem]:
    """Dimensions that change what the monitored loss means."""
    for dimension in space:
        changes_loss = _overlap(dimension.key, "loss") or dimension.key == "dataset.args.standardise_target"
        if changes_loss and config.trainer.monitor and config.trainer.monitor.metric.startswith("val_loss"):
            message = "losses of other kinds cannot be compared; expected a metric as trainer.monitor"
            yield Problem(dimension.origin, (dimension.key,), message)
