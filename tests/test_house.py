"""The house rules that a program can check."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BELOW = {
    "utils": set(),
    "config": set(),
    "base": {"utils", "config"},
    "data_loader": {"utils", "config", "base"},
    "model": {"utils", "config", "base"},
    "trainer": {"utils", "config", "base"},
}
SOURCES = [path for room in BELOW for path in sorted((ROOT / room).rglob("*.py"))] + sorted(ROOT.glob("*.py"))


def imported_modules(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    room = path.relative_to(ROOT).parts[0]
    for module in imported_modules(ast.parse(path.read_text())):
        other = module.split(".")[0]
        if room in BELOW and other in {*BELOW, "experiment", "train", "test"} and other != room:
            assert other in BELOW[room], f"{room} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_code_from_data(path):
    tree = ast.parse(path.read_text())
    unpicklers = {"pickle", "marshal", "shelve", "dill"}
    imported = {name.split(".")[0] for name in imported_modules(tree)}
    if unpicklers & imported:
        names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module == "pickle"
                 for alias in node.names]  # fmt: skip
        assert unpicklers & imported == {"pickle"} and names == ["UnpicklingError"]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        assert name not in {"eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
        if name == "torch.load":
            assert "weights_only=True" in ast.unparse(node)
        if name.endswith("import_module"):
            assert path.name in {"discovery.py", "libraries.py"}, (
                "only the rooms and the libraries are imported by name"
            )
