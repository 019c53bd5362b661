"""Find the components that a room holds."""

import importlib
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from utils.errors import UserError

BROKEN: dict[str, Exception] = {}  # the files that do not import, such as model/bert.py, and why
_ROOMS: dict[str, list[str]] = {}  # the folders of each room that has been searched


def import_modules(package: str, path: list[str]) -> None:
    """Import every module of a package, so that its decorated classes and functions are registered.

    One that does not import is left out with all that it has registered so far, and its error kept in BROKEN: it shall
    hurt only those who name what is in it, and never turn into a mere "unknown component". UserError where Python would
    never import a file, as a folder beside it has its name.
    """
    if "." not in package:
        _ROOMS[package] = path
    for module in pkgutil.iter_modules(path):
        name = f"{package}.{module.name}"
        if module.ispkg and Path(module.module_finder.path, f"{module.name}.py").exists():
            place = name.replace(".", "/")
            raise UserError(f"{place}.py is never imported, as Python takes the folder {place}/ for it: rename one")
        try:
            importlib.import_module(name)
        except UserError:  # two components of one name
            raise
        except Exception as error:
            from base.registries import REGISTRIES

            file = f"{name.replace('.', '/')}{'/__init__' if module.ispkg else ''}.py"
            BROKEN[file] = error
            for registry in REGISTRIES.values():
                registry.forget(name)


def broken_file(file: str) -> str | None:
    """Which file that does not import keeps this one out: itself, or the `__init__.py` of a folder that it lies in."""
    inits = (f"{folder.as_posix()}/__init__.py" for folder in Path(file).parents)
    return next((each for each in (file, *inits) if each in BROKEN), None)


def why_broken(file: str) -> str:
    """The traceback of a file that does not import, from its own line on."""
    error = BROKEN[file]
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    own = [frame for frame in frames if frame.filename != __file__]
    return "".join([*traceback.format_list(own), *traceback.format_exception_only(error)]).rstrip()


def definitions_of(name: str) -> Iterator[tuple[str, bool]]:
    """Where the rooms define this class or function, and whether that file has been imported."""
    definition = rf"^(class|def) {re.escape(name)}\b|register\([^)]*name=[\"']{re.escape(name)}[\"']"
    for package, folders in _ROOMS.items():
        for folder in map(Path, folders):
            for file in sorted(folder.rglob("*.py")):
                if re.search(definition, file.read_text(errors="replace"), re.MULTILINE):
                    inner = file.relative_to(folder).with_suffix("")
                    yield f"{package}/{inner.as_posix()}.py", ".".join([package, *inner.parts]) in sys.modules
