"""The house rules that a program can check."""

import ast
import re
from pathlib import Path

import pytest

from base.shipped import SHIPPED

ROOT = Path(__file__).resolve().parent.parent
BELOW = {
    "utils": set(),
    "config": set(),
    "base": {"utils", "config"},
    "data_loader": {"utils", "config", "base"},
    "model": {"utils", "config", "base"},
    "trainer": {"utils", "config", "base"},
    "report": {"utils"},
}
ABOVE = ("commands", "report", "starters")  # what scripts alone import
SOURCES = [path for room in (*BELOW, "commands", "report") for path in sorted((ROOT / room).rglob("*.py"))]
SOURCES += [*sorted((ROOT / "starters").glob("*.py")), *sorted(ROOT.glob("*.py"))]


def imports(tree):
    """Its import statements, as text."""
    return [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    room = path.relative_to(ROOT).parts[0]
    modules = {line.split()[1].split(".")[0] for line in imports(ast.parse(path.read_text()))}
    forbidden = {*BELOW, *ABOVE, *(script.stem for script in ROOT.glob("*.py"))} - BELOW.get(room, modules) - {room}
    assert not forbidden & modules


def test_a_kind_of_data_is_a_leaf():
    kinds = {path.parent.name for path in (ROOT / "data_loader").glob("*/__init__.py")}
    taken = set()
    for path in SOURCES:
        own = path.parent.name if path.parent.parent.name == "data_loader" else ""
        text, module = path.read_text(), ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if ".register" in text and module not in SHIPPED and own == "":
            continue  # a component of a user's own, which may build on any of them
        found = re.findall(r"\bdata_loader\.(\w+)", "\n".join(imports(ast.parse(text))))
        taken |= {(own, kind) for kind in found if kind in kinds - {own}}
    assert taken <= {("texts", "tables")}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_code_from_data(path):
    tree = ast.parse(path.read_text())
    unpicklers = re.compile(r"\b(pickle|marshal|shelve|dill)\b")
    assert {line for line in imports(tree) if unpicklers.search(line)} <= {"from pickle import UnpicklingError"}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        assert name not in {"eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
        if name == "torch.load":
            assert "weights_only=True" in ast.unparse(node)
        if name.endswith("import_module"):
            assert path.name in {"discovery.py", "libraries.py"}, "imports by name all but rooms and libraries"
