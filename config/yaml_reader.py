"""YAML 1.2 text to plain data with the origin of every value; harmless whatever the text holds.

A text is composed into nodes, never constructed: nothing in it can name a Python type, every node knows its line, and
what aliases expand to is counted while plain data is built of them.
"""

import math
import re
from pathlib import Path as FilePath
from typing import Any, NamedTuple

import yaml

from .problems import ConfigError, Origin, Path, Problem, describe, did_you_mean

MAX_BYTES = 1_000_000
MAX_NODES = 10_000
MAX_DEPTH = 50
MAX_DIGITS = 100

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
    "exceeded maximum nesting depth": f"nested deeper than {MAX_DEPTH} levels; no config is that large",  # PyYAML's own
    "mapping values are not allowed": "a ':' where no key can be: check the indentation, or quote the text",
    "could not find expected ':'": "a key without ':' after it, or a wrong indentation",
    "expected key": "a key was expected here: check the indentation and the quotes",
    "expected <block end>": "a key or '- ' was expected here: check the indentation and the quotes",
    "expected '-' indicator": "a '- ' was expected here: check the indentation",
    "expected ',' or": "a '[' or '{' that is not closed: ',' or the closing bracket was expected here",
    "unexpected end of stream": "a quote that is not closed",
    "alphabetic or numeric character": "text that begins with '*' or '&' must be put in quotes",
    "cannot start any token": "text that begins with this character must be put in quotes",
    "undefined alias": "found '*NAME', but no '&NAME' before it; text that begins with '*' must be put in quotes",
    "second occurrence": "found '&NAME' a second time; rename one of them",
    "another document": "a second document ('---'); a file holds one config",
}


class Document(NamedTuple):
    """A config, or a part of one, as it was written: plain data, the origin of every path, and what was wrong."""

    data: Any
    origins: dict[Path, Origin]
    problems: list[Problem]

    def origin(self, path: Path) -> Origin:
        """Where a path was written; for one that is not there, where the mapping around it was."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins[path]


def read_file(file: str) -> Document:
    """Read a config file: one mapping in UTF-8, at most MAX_BYTES. Raises ConfigError where it is not that."""
    source = file if file.isprintable() and len(file) < 500 else describe(file)
    try:
        with open(file, "rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        siblings = [str(path) for path in FilePath(file).parent.glob("*.y*ml")]
        raise _unreadable(source, 0, f"no such file{did_you_mean(file, siblings)}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise _unreadable(source, 0, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAX_BYTES:
        raise _unreadable(source, 0, f"larger than {MAX_BYTES // 1_000_000} MB, which no config is")
    try:
        document = read_text(content.decode("utf-8-sig"), source)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable(source, line, f"not UTF-8 text (byte {content[error.start]:#04x})") from None
    if not isinstance(document.data, dict):
        what = "the file is empty" if document.data is None else f"found {describe(document.data)} at the top"
        raise _unreadable(source, 1, f"{what}; expected a mapping of keys such as 'model:'")
    return document


def _unreadable(source: str, line: int, message: str, path: Path = ()) -> ConfigError:
    return ConfigError([Problem(Origin(source, line), path, message)])


def read_text(text: str, source: str, at: Path = ()) -> Document:
    """Read one YAML document: a file's, or the value that an override sets at a path, whose line says nothing.

    Raises ConfigError where the text cannot be read; smaller mistakes are among the document's problems.
    """
    builder = _Builder(source, at)
    try:
        node = yaml.compose(text, _Loader)
        return Document(builder.value(node, at) if node else None, builder.origins, builder.problems)
    except UnicodeEncodeError:  # bytes of the command line that are not UTF-8
        line, message = 0, "not UTF-8 text"
    except yaml.reader.ReaderError as error:
        line, message = text.count("\n", 0, error.position), "a character that YAML does not allow"
    except yaml.MarkedYAMLError as error:
        line, message = _explained(error, text)
    raise _unreadable(source, 0 if at else line + 1, message, at)


def _explained(error: yaml.MarkedYAMLError, text: str) -> tuple[int, str]:
    """The line of a mistake, and the mistake in plain words; tabs are the commonest and the hardest to see."""
    mark = error.problem_mark or error.context_mark
    lines = text.split("\n")
    if error.context_mark and not "\n".join(lines[mark.line :])[mark.column :].strip():
        mark = error.context_mark  # noticed at the end of the text: what was opened and not closed says more
    for number in (mark.line, mark.line - 1):
        if 0 <= number < len(lines) and re.match(r" *\t", lines[number]) and lines[number].strip():
            return number, "indented with a tab; YAML takes spaces only: replace the tab"
    remedy = next((words for part, words in _REMEDIES.items() if part in error.problem), error.problem)
    if name := re.match(r"[*&]([^\s,\]}]{1,100})", lines[mark.line][mark.column :]):
        remedy = remedy.replace("NAME", name[1])
    is_syntax = not isinstance(error, yaml.composer.ComposerError)
    return mark.line, f"{'not valid YAML: ' if is_syntax else ''}{remedy} (column {mark.column + 1})"


def resolve_scalar(text: str) -> Any:
    """What an unquoted scalar means by YAML 1.2's core schema; a number of more than MAX_DIGITS stays text."""
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > MAX_DIGITS:  # what reads a number takes the square of its length
        return text
    if _INT.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Composes nodes, with a tag only where one is written; PyYAML calls these methods for each, in Python and in C."""

    depth, num_nodes = -1, 0

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> None:
        """No tag for a node that is written without one."""

    def descend_resolver(self, parent: yaml.Node | None, key: Any) -> None:
        self.depth += 1
        self.num_nodes += 1
        _check_limits(self.depth, self.num_nodes, parent)

    def ascend_resolver(self) -> None:
        self.depth -= 1


def _check_limits(depth: int, num_nodes: int, node: yaml.Node | None) -> None:
    if depth > MAX_DEPTH or num_nodes > MAX_NODES:
        what = f"nested deeper than {MAX_DEPTH} levels" if depth > MAX_DEPTH else f"more than {MAX_NODES:,} values"
        message = f"{what}, anchors expanded; no config is that large"
        raise yaml.composer.ComposerError(None, None, message, node.start_mark)


class _Builder:
    """Builds plain data from the nodes of one text; how deep a value lies is the length of its path."""

    def __init__(self, source: str, at: Path) -> None:
        self.source, self.is_numbered = source, not at
        self.line = self.num_nodes = 0
        self.origins: dict[Path, Origin] = {at: self.origin()}
        self.problems: list[Problem] = []

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.line = max(self.line, node.start_mark.line)  # what an alias stands for is said to be where the alias is
        self.origins.setdefault(path, self.origin())  # a mapping has already noted the line of the key
        self.num_nodes += 1 + len(node.value) // 100  # long texts count as many
        _check_limits(len(path), self.num_nodes, node)
        if node.tag is not None:
            self.report(path, f"found the tag {describe(node.tag)}; tags are not taken: write the plain value")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if node.style or node.tag:
            return node.value
        value = resolve_scalar(node.value)
        if isinstance(value, str) and len(value) > MAX_DIGITS and (_INT.fullmatch(value) or _FLOAT.fullmatch(value)):
            self.report(path, f"found a number of {len(value)} digits")
        return value

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.value(key_node, path)
            if not isinstance(key, str):
                self.report(path, f"found the key {describe(key)}, which is not text; put it in quotes")
            elif key == "<<" and not key_node.style:
                self.report(path, "found the merge key '<<', which YAML 1.2 has not; lay files over each other with -c")
            elif key in mapping:
                first = f" (first at line {self.origins[*path, key].line})" if self.is_numbered else ""
                self.report((*path, key), f"the key is given twice{first}; keep one")
            else:
                self.origins[*path, key] = self.origin()
                mapping[key] = self.value(value_node, (*path, key))
        return mapping

    def origin(self) -> Origin:
        return Origin(self.source, self.line + 1 if self.is_numbered else 0)

    def report(self, path: Path, message: str) -> None:
        self.problems.append(Problem(self.origin(), path, message))
