"""Reads YAML files and values into plain data; harmless whatever they hold."""

from pathlib import Path as FilePath
from typing import Any, NamedTuple

import yaml

from .problems import Origin, Path, Problem, describe, did_you_mean
from .yaml_builder import Builder, TooLargeError

MAX_BYTES = 1_000_000


class Layer(NamedTuple):
    """What one file or override says; `is_readable` is false where the data is not what its author meant."""

    data: Any
    origins: dict[Path, Origin]
    problems: list[Problem]
    is_readable: bool


def read_file(file: str) -> Layer:
    """Read a config file: one mapping in UTF-8, at most MAX_BYTES. All that is wrong is in `problems`."""
    origin = Origin(_shown(file), 0)
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
    if layer.is_readable and not isinstance(layer.data, dict):
        is_empty = layer.data is None
        what = "the file is empty" if is_empty else f"found {describe(layer.data)} at the top"
        line = 1 if is_empty else layer.origins[()].line
        return _unreadable(Origin(origin.source, line), f"{what}; expected a mapping of keys such as 'model:'")
    return layer


def read_text(text: str, source: str, numbered: bool = True) -> Layer:
    """Read one YAML document. `numbered`: the text has lines worth naming (a file), or is an override."""
    builder = Builder(text, source, numbered)
    data, is_readable = None, False
    try:
        data = builder.document()
        is_readable = True
    except TooLargeError:
        pass
    except UnicodeEncodeError:  # bytes of the command line that are not UTF-8
        builder.report_line(0, "not UTF-8 text")
    except yaml.reader.ReaderError as error:
        builder.report_line(text.count("\n", 0, error.position), "a character that YAML does not allow")
    except yaml.MarkedYAMLError as error:
        builder.report_syntax(error)
    return Layer(data, builder.origins, builder.problems, is_readable)


def _unreadable(origin: Origin, message: str) -> Layer:
    return Layer(None, {(): origin}, [Problem(origin, (), message)], False)


def _shown(file: str) -> str:
    """A file's name fit to print on one line."""
    return file if file.isprintable() and len(file) < 500 else describe(file)
