"""What the source of a component says of its arguments, read without importing it."""

import ast
import re
from typing import Any, NamedTuple


class Parameter(NamedTuple):
    annotation: ast.expr | None
    required: bool
    guarded: bool  # whether the constructor may raise for a value of it


def definition(text: str, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    """A class or function at the top level of a module; None where it isn't there just once, or can't be read."""
    # Whole modules of torch take as long to parse as everything else together: only the lines of this one are.
    blocks = re.findall(rf"^((?:@.*\n)*(?:class|def) {name}\b.*\n(?:(?:[ \t)#].*)?\n)*)", text, re.MULTILINE)
    try:
        (node,) = ast.parse(blocks[0]).body if len(blocks) == 1 else (None,)
    except SyntaxError:
        return None
    return node


def constructor(node: ast.ClassDef | ast.FunctionDef | None, text: str) -> ast.FunctionDef | None:
    """The function whose arguments a component takes: itself, or the `__init__` of the class or its only base."""
    if not isinstance(node, ast.ClassDef):
        return node
    methods = {method.name: method for method in node.body if isinstance(method, ast.FunctionDef)}
    if "__new__" in methods:
        return None
    if "__init__" in methods:
        return None if methods["__init__"].decorator_list else methods["__init__"]
    if len(node.bases) != 1 or not isinstance(node.bases[0], ast.Name) or node.bases[0].id == node.name:
        return None
    base = definition(text, node.bases[0].id)
    return None if base is None or base.decorator_list else constructor(base, text)


def parameters_of(function: ast.FunctionDef) -> dict[str, Parameter]:
    """The arguments that a function takes by name, without `self` and what it passes on with `**kwargs`."""
    arguments = function.args
    names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    num_required = len(names) - len(arguments.kwonlyargs) - len(arguments.defaults)
    defaults = [None] * num_required + arguments.defaults + arguments.kw_defaults
    conditions = [
        branch.test
        for branch in ast.walk(function)
        if isinstance(branch, ast.If) and any(isinstance(node, ast.Raise) for node in ast.walk(branch))
    ]
    guarded = {node.id for test in conditions for node in ast.walk(test) if isinstance(node, ast.Name)}
    return {
        name.arg: Parameter(name.annotation or _annotation_like(default), default is None, name.arg in guarded)
        for name, default in zip(names, defaults, strict=True)
        if name.arg != "self"
    }


def _annotation_like(default: ast.expr | None) -> ast.expr | None:
    """As signature.py guesses it where there is no annotation; None where that takes more than a look."""
    kinds = {bool: "bool", int: "float", float: "float", str: "str"}
    kind = kinds.get(type(default.value)) if isinstance(default, ast.Constant) else None
    return ast.Name(kind) if kind else None


def fits(value: Any, annotation: ast.expr | None) -> bool:
    """Whether a plain value surely fits an annotation; of one that isn't plain nothing is sure."""
    match annotation:
        case ast.Constant(value=None):
            return value is None
        case ast.Name(id=("bool" | "int" | "float" | "str") as kind):
            return type(value).__name__ in ((kind, "int") if kind == "float" else (kind,))
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return fits(value, left) or fits(value, right)
        case ast.Subscript(value=outer, slice=inner):
            members = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return _fits_members(value, ast.unparse(outer).split(".")[-1].lower(), members)
    return False


def _fits_members(value: Any, outer: str, members: list[ast.expr]) -> bool:
    """Whether a value fits `outer[members]`."""
    if outer in ("optional", "union"):
        return (outer == "optional" and value is None) or any(fits(value, member) for member in members)
    if outer == "literal":
        return any(
            isinstance(member, ast.Constant) and member.value == value and type(member.value) is type(value)
            for member in members
        )
    if not isinstance(value, list) or outer not in ("list", "sequence", "iterable", "tuple"):
        return False
    if outer != "tuple" or (len(members) == 2 and ast.unparse(members[1]) == "..."):
        return all(fits(item, members[0]) for item in value)
    return len(members) == len(value) and all(map(fits, value, members))
