"""Find the components that a room holds."""

import importlib
import pkgutil


def import_modules(package: str, path: list[str]) -> None:
    """Import every module of a package, so that its decorated classes and functions are registered.

    A module that does not import raises its own error, with its own traceback: a mistake in a user's file must never
    turn into "unknown component".
    """
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
