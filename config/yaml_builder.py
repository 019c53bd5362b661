"""Plain data from the events of a YAML 1.2 document, with the origin of every value.

Built on the parser's events, not on yaml.load: nothing in a text can name a Python type, and what anchors
expand to is counted while it is built.
"""

import copy
import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

from .problems import Origin, Path, Problem, describe

MAX_NODES = 10_000
MAX_DEPTH = 50
MAX_DIGITS = 100

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{sign + word: number for sign, number in (("", math.inf), ("+", math.inf), ("-", -math.inf))
       for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}  # fmt: skip
# By a part of the parser's message (libyaml's or PyYAML's own): the same in plain words.
_REMEDIES = {
    "mapping values are not allowed": "a ':' where no key can be: check the indentation, or quote the text",
    "could not find expected ':'": "a key without ':' after it, or a wrong indentation",
    "expected key": "a key was expected here: check the indentation and the quotes",
    "expected <block end>": "a key or '- ' was expected here: check the indentation and the quotes",
    "expected '-' indicator": "a '- ' was expected here: check the indentation",
    "expected ',' or ']'": "a '[' that is not closed: ',' or ']' was expected here",
    "expected ',' or '}'": "a '{' that is not closed: ',' or '}' was expected here",
    "unexpected end of stream": "a quote that is not closed",
    "alphabetic or numeric character": "text that begins with '*' or '&' must be put in quotes",
    "cannot start any token": "text that begins with this character must be put in quotes",
}


class TooLargeError(Exception):
    """Ends the reading of a text that no config is like; the reason is already among the problems."""


def resolve_scalar(text: str) -> Any:
    """What an unquoted scalar means by YAML 1.2's core schema. ValueError: an absurdly long number."""
    if text in _WORDS:
        return _WORDS[text]
    is_int = _INT.fullmatch(text)
    if not is_int and not _FLOAT.fullmatch(text):
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    if not is_int:
        return float(text)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


class Builder:
    """Builds plain data from the events of one document."""

    def __init__(self, text: str, source: str, numbered: bool) -> None:
        self.text, self.source, self.numbered = text, source, numbered
        self.events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self.origins: dict[Path, Origin] = {}
        self.problems: list[Problem] = []
        self.anchors: dict[str, tuple[Any, int, int] | None] = {}  # name -> (value, nodes, depth); None: unfinished
        self.num_nodes = 0

    def document(self) -> Any:
        next(self.events)  # stream start
        event = next(self.events)
        if isinstance(event, yaml.StreamEndEvent):
            self.origins[()] = self.origin(event)
            return None
        value, _ = self.node(next(self.events), (), 0)
        next(self.events)  # document end
        if isinstance(event := next(self.events), yaml.DocumentStartEvent):
            self.report(event, (), "a second document ('---'); a file holds one config")
            raise TooLargeError
        return value

    def node(self, event: yaml.Event, path: Path, depth: int) -> tuple[Any, int]:
        """The value that begins with this event, and how deep it goes below here."""
        if depth > MAX_DEPTH:
            self.report(event, path[:5], f"nested deeper than {MAX_DEPTH} levels")
            raise TooLargeError
        self.origins.setdefault(path, self.origin(event))  # a mapping has already noted the line of the key
        nodes_before = self.num_nodes
        self.count(event, path, 1 + len(getattr(event, "value", "")) // 100)  # long texts count as many
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, path, depth)
        if event.tag is not None:
            self.report(event, path, f"found the tag {describe(event.tag)}; tags are not taken: write the plain value")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if isinstance(event, yaml.MappingStartEvent):
            value, height = self.mapping(path, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            value, height = self.sequence(path, depth)
        else:
            value, height = self.scalar(event, path), 0
        if event.anchor is not None:
            self.anchors[event.anchor] = value, self.num_nodes - nodes_before, height
        return value, height

    def mapping(self, path: Path, depth: int) -> tuple[dict[str, Any], int]:
        mapping: dict[str, Any] = {}
        height = 0
        while not isinstance(key_event := next(self.events), yaml.MappingEndEvent):
            key, is_good = self.key(key_event, path, depth, mapping)
            child = (*path, key)
            kept = self.origins
            if not is_good:
                self.origins = {}  # a value that is dropped leaves no origins
            self.origins[child] = self.origin(key_event)
            value, below = self.node(next(self.events), child, depth + 1)
            self.origins = kept
            height = max(height, below + 1)
            if is_good:
                mapping[key] = value
        return mapping, height

    def key(self, event: yaml.Event, path: Path, depth: int, mapping: dict[str, Any]) -> tuple[str, bool]:
        """A key of a mapping, and whether it can be taken."""
        if not isinstance(event, yaml.ScalarEvent):
            if not isinstance(event, yaml.AliasEvent):
                self.node(event, (*path, "?"), depth + 1)
            self.report(event, path, "a key that is not plain text")
            return "?", False
        key = self.scalar(event, path)
        if event.tag is not None:
            self.report(event, path, f"found the tag {describe(event.tag)} on a key; tags are not taken")
        elif event.value == "<<" and event.implicit[0]:
            self.report(
                event,
                path,
                "found the merge key '<<', which YAML 1.2 has not; lay files over each other with -c",
            )
        elif not isinstance(key, str):
            self.report(event, path, f"found the key {describe(key)}, which is not text; put it in quotes")
        elif key in mapping:
            first = self.origins[(*path, key)]
            where = f" (first at line {first.line})" if self.numbered else ""
            self.report(event, (*path, key), f"the key is given twice{where}; keep one")
        else:
            return key, True
        return str(key)[:100], False

    def sequence(self, path: Path, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        height = 0
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            value, below = self.node(event, (*path, len(items)), depth + 1)
            items.append(value)
            height = max(height, below + 1)
        return items, height

    def scalar(self, event: yaml.ScalarEvent, path: Path) -> Any:
        if not event.implicit[0]:  # quoted, or tagged
            return event.value
        try:
            return resolve_scalar(event.value)
        except ValueError as error:
            self.report(event, path, f"found {error}")
            return None

    def alias(self, event: yaml.AliasEvent, path: Path, depth: int) -> tuple[Any, int]:
        if event.anchor not in self.anchors:
            hint = "; text that begins with '*' must be put in quotes"
            self.report(
                event,
                path,
                f"found *{event.anchor[:100]}, but there is no &{event.anchor[:100]} before it{hint}",
            )
            return None, 0
        if self.anchors[event.anchor] is None:
            self.report(event, path, f"*{event.anchor[:100]} stands inside itself")
            return None, 0
        value, num_nodes, height = self.anchors[event.anchor]
        self.count(event, path, num_nodes)
        if depth + height > MAX_DEPTH:
            self.report(event, path[:5], f"nested deeper than {MAX_DEPTH} levels")
            raise TooLargeError
        for child in paths_below(value, path):
            self.origins[child] = self.origins[path]
        return copy.deepcopy(value), height

    def count(self, event: yaml.Event, path: Path, num_nodes: int) -> None:
        self.num_nodes += num_nodes
        if self.num_nodes > MAX_NODES:
            self.report(event, path[:5], f"more than {MAX_NODES:,} values, anchors expanded; no config is that large")
            raise TooLargeError

    def origin(self, event: yaml.Event) -> Origin:
        return Origin(self.source, event.start_mark.line + 1 if self.numbered else 0)

    def report(self, event: yaml.Event, path: Path, message: str) -> None:
        self.problems.append(Problem(self.origin(event), path, message))

    def report_line(self, line: int, message: str) -> None:
        self.problems.append(Problem(Origin(self.source, line + 1 if self.numbered else 0), (), message))

    def report_syntax(self, error: yaml.MarkedYAMLError) -> None:
        """A syntax error in plain words, tabs first: they are the commonest and the hardest to see."""
        mark = error.problem_mark or error.context_mark
        lines = self.text.split("\n")
        if error.context_mark and not "\n".join(lines[mark.line :])[mark.column :].strip():
            mark = error.context_mark  # noticed at the end of the text: what was opened and not closed says more
        for number in (mark.line, mark.line - 1):
            if 0 <= number < len(lines) and re.match(r" *\t", lines[number]) and lines[number].strip():
                return self.report_line(number, "indented with a tab; YAML takes spaces only: replace the tab")
        problem = error.problem or "a syntax error"
        remedy = next((words for start, words in _REMEDIES.items() if start in problem), problem)
        self.report_line(mark.line, f"not valid YAML: {remedy} (column {mark.column + 1})")
        return None


def paths_below(value: Any, path: Path) -> Iterator[Path]:
    """The paths of everything inside a value that stands at `path`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths_below(item, (*path, key))
