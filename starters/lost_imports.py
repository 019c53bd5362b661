"""What a project's own files import that a newer template has in another place, or no longer."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress


def lost_imports(own: Mapping[str, str], known: Collection[str], newer: Mapping[str, str]) -> list[str]:
    """A line for each import that fails after an update.

    own, newer: the texts of the user's files and of the newer machinery's, by path. known: the paths of the machinery
    that the project has. A name is taken for there as long as its file has the word.
    """
    lost = []
    for file, text in own.items():
        for module, name in _imports(text):
            source = f"{module.replace('.', '/')}.py"
            if source in known and not re.search(rf"\b{name}\b", newer.get(source, "")):
                now = " or ".join(_places_of(name, newer)) if name else ""
                what = f"{name} of {source}" if name else source
                lost.append(f"{file} imports {what}, which is {f'in {now} now' if now else 'gone'}")
    return lost


def _imports(text: str) -> Iterator[tuple[str, str]]:
    """Each module that a file may import, and the name that it takes of it; an empty one for the whole."""
    with suppress(SyntaxError, ValueError):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                for alias in node.names:
                    yield node.module, alias.name
                    yield f"{node.module}.{alias.name}", ""  # from data_loader import in_memory


def _places_of(name: str, sources: Mapping[str, str]) -> list[str]:
    definition = re.compile(rf"^(class|def) {name}\b|^{name}\b.* = ", re.MULTILINE)
    return [file for file, text in sources.items() if definition.search(text)]
