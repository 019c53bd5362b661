"""Find the components that a room holds."""

import importlib
import pkgutil
import re
import sys
from pathlib import Path

_ROOMS: dict[str, list[str]] = {}  # the folders of each package that has been searched


def import_modules(package: str, path: list[str]) -> None:
    """Import every module of a package, so that its decorated classes and functions are registered.

    A module that does not import raises its own error, with its own traceback: a mistake in a user's file must never
    turn into "unknown component".
    """
    _ROOMS[package] = path
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")


def find_definition(name: str) -> tuple[str, bool] | None:
    """Where a room defines this class or function, and whether that file has been imported; None where none does."""
    for package, folders in _ROOMS.items():
        for folder in map(Path, folders):
            for file in sorted(folder.rglob("*.py")):
                if re.search(rf"^(class|def) {re.escape(name)}\b", file.read_text(errors="replace"), re.MULTILINE):
                    inner = file.relative_to(folder).with_suffix("")
                    return f"{package}/{inner.as_posix()}.py", ".".join([package, *inner.parts]) in sys.modules
    return None
