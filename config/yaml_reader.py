"""YAML 1.2 text to plain data with the origin of every value; harmless whatever the text holds.

Built on the parser's events, not on yaml.load: nothing in a text can name a Python type, every value knows its line,
and what aliases expand to is counted while it is built.
"""

import copy
import math
import re
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import yaml

from .problems import Origin, Path, Problem, describe, did_you_mean

MAX_BYTES = 1_000_000
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
    **{sign + word: float(sign + "inf") for sign in ("", "+", "-") for word in (".inf", ".Inf", ".INF")},
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
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
_UNFINISHED = object()


class Layer(NamedTuple):
    """What one file or override says; `is_readable` is false where the data is not what its author meant."""

    data: Any
    origins: dict[Path, Origin]
    problems: list[Problem]
    is_readable: bool


class _UnlikeAConfigError(Exception):
    """Ends the reading of a text that no config is like; the reason is already among the problems."""


def read_file(file: str) -> Layer:
    """Read a config file: one mapping in UTF-8, at most MAX_BYTES. All that is wrong is in `problems`."""
    origin = Origin(file if file.isprintable() and len(file) < 500 else describe(file))
    try:
        with open(file, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            return _unreadable(origin, f"larger than {MAX_BYTES // 1_000_000} MB, which no config is")
        text = content.decode("utf-8-sig")
    except FileNotFoundError:
        siblings = [str(path) for path in FilePath(file).parent.glob("*.y*ml")]
        return _unreadable(origin, f"no such file{did_you_mean(file, siblings)}")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return _unreadable(Origin(origin.source, line), f"not UTF-8 text (byte {content[error.start]:#04x})")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        return _unreadable(origin, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    layer = read_text(text, origin.source)
    if not layer.is_readable or isinstance(layer.data, dict):
        return layer
    line = 1 if layer.data is None else layer.origins[()].line
    what = "the file is empty" if layer.data is None else f"found {describe(layer.data)} at the top"
    return _unreadable(Origin(origin.source, line), f"{what}; expected a mapping of keys such as 'model:'")


def _unreadable(origin: Origin, message: str) -> Layer:
    return Layer(None, {(): origin}, [Problem(origin, (), message)], False)


def read_text(text: str, source: str, numbered: bool = True) -> Layer:
    """Read one YAML document. `numbered`: the text has lines worth naming (a file), or is an override."""
    builder = _Builder(source, numbered)
    try:
        data = builder.document(yaml.parse(text, Loader=_LOADER))
        return Layer(data, builder.origins, builder.problems, True)
    except _UnlikeAConfigError:
        pass
    except UnicodeEncodeError:  # bytes of the command line that are not UTF-8
        builder.report(0, (), "not UTF-8 text")
    except yaml.reader.ReaderError as error:
        builder.report(text.count("\n", 0, error.position), (), "a character that YAML does not allow")
    except yaml.MarkedYAMLError as error:
        builder.report(*_explained(error, text))
    return Layer(None, builder.origins, builder.problems, False)


def _explained(error: yaml.MarkedYAMLError, text: str) -> tuple[int, Path, str]:
    """The line of a syntax error, and the error in plain words; tabs are the commonest and the hardest to see."""
    mark = error.problem_mark or error.context_mark
    lines = text.split("\n")
    if error.context_mark and not "\n".join(lines[mark.line :])[mark.column :].strip():
        mark = error.context_mark  # noticed at the end of the text: what was opened and not closed says more
    for number in (mark.line, mark.line - 1):
        if 0 <= number < len(lines) and re.match(r" *\t", lines[number]) and lines[number].strip():
            return number, (), "indented with a tab; YAML takes spaces only: replace the tab"
    problem = error.problem or "a syntax error"
    remedy = next((words for part, words in _REMEDIES.items() if part in problem), problem)
    return mark.line, (), f"not valid YAML: {remedy} (column {mark.column + 1})"


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


class _Builder:
    """Builds plain data from the events of one document; its depth is the length of the path."""

    def __init__(self, source: str, numbered: bool) -> None:
        self.source, self.numbered = source, numbered
        self.origins: dict[Path, Origin] = {}
        self.problems: list[Problem] = []
        self.anchors: dict[str | None, Any] = {}
        self.num_nodes = 0

    def document(self, events: Iterator[yaml.Event]) -> Any:
        self.events = events
        next(events)  # stream start
        if isinstance(event := next(events), yaml.StreamEndEvent):
            self.origins[()] = self.origin(event.start_mark.line)
            return None
        value = self.value(next(events), ())
        next(events)  # document end
        if isinstance(event := next(events), yaml.DocumentStartEvent):
            self.refuse(event, (), "a second document ('---'); a file holds one config")
        return value

    def value(self, event: yaml.Event, path: Path) -> Any:
        """The value that begins with this event."""
        line = event.start_mark.line
        self.origins.setdefault(path, self.origin(line))  # a mapping has already noted the line of the key
        self.count(event, path, 1 + len(getattr(event, "value", "")) // 100)  # long texts count as many
        if isinstance(event, yaml.AliasEvent):
            return self.copy(event, path)
        if event.tag is not None:
            self.report(line, path, f"found the tag {describe(event.tag)}; tags are not taken: write the plain value")
        self.anchors[event.anchor] = _UNFINISHED
        if isinstance(event, yaml.MappingStartEvent):
            value = self.mapping(path)
        elif isinstance(event, yaml.SequenceStartEvent):
            items = enumerate(self.until(yaml.SequenceEndEvent))
            value = [self.value(item, (*path, index)) for index, item in items]
        else:
            value = self.scalar(event, path)
        self.anchors[event.anchor] = value
        return value

    def until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        while not isinstance(event := next(self.events), end):
            yield event

    def mapping(self, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for event in self.until(yaml.MappingEndEvent):
            key = self.scalar(event, path) if isinstance(event, yaml.ScalarEvent) else None
            reason = self.refusal(event, key, path, mapping)
            kept, line = self.origins, event.start_mark.line
            if reason is not None:
                self.report(line, (*path, key) if key in mapping else path, reason)
                key, self.origins = str(key)[:100], {}  # a value that is dropped leaves no origins
            self.origins[(*path, key)] = self.origin(line)
            value = self.value(next(self.events), (*path, key))
            self.origins = kept
            if reason is None:
                mapping[key] = value
        return mapping

    def refusal(self, event: yaml.Event, key: Any, path: Path, mapping: dict[str, Any]) -> str | None:
        """Why a key cannot be taken, or None."""
        if not isinstance(event, yaml.ScalarEvent):
            if not isinstance(event, yaml.AliasEvent):
                self.value(event, (*path, "?"))
            return "a key that is not plain text"
        if event.tag is not None:
            return f"found the tag {describe(event.tag)} on a key; tags are not taken"
        if event.value == "<<" and event.implicit[0]:
            return "found the merge key '<<', which YAML 1.2 has not; lay files over each other with -c"
        if not isinstance(key, str):
            return f"found the key {describe(key)}, which is not text; put it in quotes"
        if key in mapping:
            where = f" (first at line {self.origins[(*path, key)].line})" if self.numbered else ""
            return f"the key is given twice{where}; keep one"
        return None

    def scalar(self, event: yaml.ScalarEvent, path: Path) -> Any:
        if not event.implicit[0]:  # quoted, or tagged
            return event.value
        try:
            return resolve_scalar(event.value)
        except ValueError as error:
            self.report(event.start_mark.line, path, f"found {error}")
            return None

    def copy(self, alias: yaml.AliasEvent, path: Path) -> Any:
        """What an alias stands for; it is counted, as it would be if it were written out."""
        value, name = self.anchors.get(alias.anchor), alias.anchor[:100]
        if alias.anchor not in self.anchors:
            hint = "text that begins with '*' must be put in quotes"
            self.report(alias.start_mark.line, path, f"found *{name}, but there is no &{name} before it; {hint}")
        elif value is _UNFINISHED:
            self.report(alias.start_mark.line, path, f"*{name} stands inside itself")
            return None
        for below, item in [(path, value), *items_below(value, path)]:
            self.count(alias, below, 1 + len(item) // 100 if isinstance(item, str) else 1)
            self.origins[below] = self.origins[path]
        return copy.deepcopy(value)

    def count(self, event: yaml.Event, path: Path, num_nodes: int) -> None:
        self.num_nodes += num_nodes
        if len(path) > MAX_DEPTH:
            self.refuse(event, path[:5], f"nested deeper than {MAX_DEPTH} levels")
        if self.num_nodes > MAX_NODES:
            self.refuse(event, path[:5], f"more than {MAX_NODES:,} values, anchors expanded; no config is that large")

    def origin(self, line: int) -> Origin:
        return Origin(self.source, line + 1 if self.numbered else 0)

    def report(self, line: int, path: Path, message: str) -> None:
        self.problems.append(Problem(self.origin(line), path, message))

    def refuse(self, event: yaml.Event, path: Path, message: str) -> None:
        self.report(event.start_mark.line, path, message)
        raise _UnlikeAConfigError


def items_below(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """The path and value of everything inside a value that stands at `path`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key), item
        yield from items_below(item, (*path, key))
