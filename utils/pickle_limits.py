"""What a pickle may ask for when `torch.load(weights_only=True)` reads it: no more than its own size.

`weights_only` runs nothing that a file brings along, but it does what it is told: bytearray(10**11), a list copied a
million times, the hash of a tuple in a tuple in a million tuples. So the instructions are followed here first, without
running them. There is no list of those that are allowed, which a later torch would outgrow: torch has its own.
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Iterable
from dataclasses import dataclass

_MAX_DEPTH = 100
_MAX_GIVEN = 10_000_000  # to all calls together; a tensor is rebuilt from a dozen values
# What weights_only would call, and what takes any amount of memory or time for a few bytes in the file.
_REFUSED_CALLS = re.compile(
    r"(?!collections\.|torch\.).*"  # bytearray(10**11); nothing from elsewhere makes plain data
    r"|torch\..*(Tensor|Storage)"  # FloatTensor(10**11)
    r"|torch\..*_rebuild_(device|from_type|parameter_with_state|qtensor|sparse).*"  # these copy what they are given
)
_NUMBERS = {
    opcode.name
    for opcode in pickletools.opcodes
    if not opcode.stack_before and opcode.stack_after and opcode.stack_after[0].name in ("int", "bool", "float", "None")
}
_PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
_GETS = {"GET", "BINGET", "LONG_BINGET"}
_CALLS = {"REDUCE", "NEWOBJ", "NEWOBJ_EX"}
_FILLS = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "BUILD"}


@dataclass(slots=True)
class _Value:
    """What an instruction leaves on the stack, as far as it matters here.

    text: a string, or the name of what can be called. items: those of a tuple. size, depth: how many values a
    container holds itself, and in how many levels all of them lie. has_tensors: is one, is a storage, or holds one.
    """

    text: str = ""
    items: tuple[_Value, ...] | None = None
    size: int = 0
    depth: int = 0
    has_tensors: bool = False

    def hold(self, values: Iterable[_Value]) -> None:
        for value in values:
            self.size += 1
            self.depth = max(self.depth, value.depth + 1)
            self.has_tensors |= value.has_tensors
        if self.depth > _MAX_DEPTH:
            raise ValueError(f"it is nested deeper than {_MAX_DEPTH} levels")


def check_pickle(pickle: bytes) -> None:
    """ValueError where reading the pickle could take far more time or memory than its size. Runs none of it."""
    stack: list[_Value] = []
    marks: list[int] = []
    memo: dict[int, _Value] = {}
    num_given = 0
    number = _Value()
    for opcode, argument, _ in pickletools.genops(pickle):
        if opcode.name in _NUMBERS:
            stack.append(number)
        elif opcode.name in _PUTS:
            memo[argument] = stack[-1]
        elif opcode.name in _GETS:
            stack.append(memo[argument])
        elif opcode.name == "MARK":
            marks.append(len(stack))
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        else:
            taken = _take(stack, marks, opcode)
            if opcode.name in _CALLS or opcode.name == "BUILD":
                num_given += sum(1 + value.size for value in (taken[1], *(taken[1].items or ())))
                if num_given > _MAX_GIVEN:
                    raise ValueError("its instructions copy too much")
            stack.extend(_results(opcode, argument, taken))


def _take(stack: list[_Value], marks: list[int], opcode: pickletools.OpcodeInfo) -> list[_Value]:
    """Take from the stack what an instruction takes: a number of values, or all above the last mark and some below."""
    before = opcode.stack_before
    if pickletools.markobject in before:
        start = marks.pop() - before.index(pickletools.markobject)
    else:
        start = len(stack) - len(before)
    if start < 0:
        raise ValueError("its instructions take more than there is")
    taken = stack[start:]
    del stack[start:]
    return taken


def _results(opcode: pickletools.OpcodeInfo, argument: object, taken: list[_Value]) -> list[_Value]:
    """What an instruction leaves on the stack in place of what it has taken."""
    if opcode.name in _CALLS:
        return [_called(*taken[:2])]
    if opcode.name in _FILLS:
        container, *values = taken
        if opcode.name == "BUILD" and values[0].has_tensors:
            raise ValueError("it sets attributes from a tensor")
        if opcode.name.startswith("SETITEM") and any(key.depth for key in values[::2]):
            raise ValueError("it has a key that is no text or number")
        container.hold(values)
        return [container]
    if opcode.name == "GLOBAL":
        return [_Value(str(argument).replace(" ", "."))]
    if opcode.name == "STACK_GLOBAL":
        return [_Value(".".join(value.text for value in taken))]
    if opcode.name == "BINPERSID":
        return [_Value(has_tensors=True)]
    results = [_Value(argument if isinstance(argument, str) else "") for _ in opcode.stack_after]
    if opcode.stack_after == [pickletools.pytuple]:
        results[0].hold(taken)
        results[0].items = tuple(taken)
    return results


def _called(function: _Value, given: _Value) -> _Value:
    """What a call makes; ValueError for one that could take any amount of memory or time."""
    if given.items is None or _REFUSED_CALLS.fullmatch(function.text):
        raise ValueError(f"it holds more than plain data and tensors ({function.text[:80] or 'a call'})")
    if function.text.startswith("torch._utils."):
        return _Value(has_tensors=True)
    if given.has_tensors or given.depth > 2:  # Counter(tensor) would make each of its elements, however many it claims
        raise ValueError(f"it calls {function.text[:80]} with more than a list of texts and numbers")
    return _Value(size=sum(value.size for value in given.items), depth=given.depth)
