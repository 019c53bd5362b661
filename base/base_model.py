"""The class that own models subclass, and a table of any model's layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

MAX_ROWS = 40  # a table that fits on a screen


class BaseModel(nn.Module):
    """A model: an nn.Module that can print a table of its layers.

    A model that has a method `start_from_data(inputs)` is given training samples by it before the first step of a new
    run (at most 5,000, as they come to `forward` in evaluation), to compute weights from. It may use no random numbers.
    """

    def summary(self, *inputs: Any, **named_inputs: Any) -> str:
        """A table of layers, output shapes and parameters, from one pass over example inputs; see `summarise`."""
        return summarise(self, *inputs, **named_inputs)


def summarise(model: nn.Module, *inputs: Any, depth: int | None = None, **named_inputs: Any) -> str:
    """A table of a model's layers, their output shapes and their parameters, from one pass over example inputs.

    depth: how many levels of nested modules to open; None opens as many as MAX_ROWS rows hold. A shared parameter
    counts where it comes first. Lazy layers take their shapes from the inputs; everything else stays as it was:
    modes, buffers and random number generators. Raises what the model raises on such inputs.
    """
    shapes: dict[nn.Module, str] = {}

    def note_shape(module: nn.Module, _inputs: Any, output: Any) -> None:
        shapes.setdefault(module, _shape_of(output))

    handles = [module.register_forward_hook(note_shape) for module in model.modules()]
    try:
        with kept_as_it_was(model), torch.no_grad():
            model.eval()(*inputs, **named_inputs)
    finally:
        for handle in handles:
            handle.remove()

    if depth is None:
        deepest = 1 + max(name.count(".") for name, _ in model.named_modules())
        fitting = [d for d in range(1, deepest + 1) if len(list(_parts(model, d))) <= MAX_ROWS]
        depth = max(fitting, default=1)
    return _table(model, list(_parts(model, depth)), shapes)


def _parts(module: nn.Module, depth: int, prefix: str = "") -> Iterator[tuple[str, nn.Module | nn.Parameter]]:
    """The modules to show, with their dotted names, and the parameters that an opened module holds itself."""
    children = list(module.named_children())
    if depth == 0 or not children:
        yield prefix.rstrip(".") or "model", module
        return
    for name, parameter in module.named_parameters(recurse=False):
        yield prefix + name, parameter
    for name, child in children:
        yield from _parts(child, depth - 1, f"{prefix}{name}.")


def _table(model: nn.Module, parts: list[tuple[str, nn.Module | nn.Parameter]], shapes: dict[nn.Module, str]) -> str:
    rows = [("layer", "type", "output shape", "parameters", "trainable")]
    counted: set[nn.Parameter] = set()
    for name, part in parts:
        is_module = isinstance(part, nn.Module)
        new = set(part.parameters() if is_module else [part]) - counted
        counted |= new
        shape = _shape_in_table(part, shapes) if is_module else _shape_of(part)
        rows.append((name, type(part).__name__, shape, _count(new) if new else "-", _trainable(new)))

    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    rule = "-" * max(map(len, lines))
    trainable = _count({parameter for parameter in counted if parameter.requires_grad})
    megabytes = sum(tensor.nbytes for tensor in [*counted, *model.buffers()]) / 1e6
    total = f"{_count(counted)} parameters, {trainable} of them trainable; {megabytes:.1f} MB with buffers"
    return "\n".join([lines[0], rule, *lines[1:], rule, total])


def _shape_in_table(module: nn.Module, shapes: dict[nn.Module, str]) -> str:
    """The shape of its output; a ModuleList is not called, but what it holds is."""
    is_in_parts = any(part in shapes for part in module.modules())
    return shapes.get(module, "-" if is_in_parts else "not used")


def _count(parameters: set[nn.Parameter]) -> str:
    # A lazy parameter that the pass did not reach has no shape yet.
    return f"{sum(parameter.numel() for parameter in parameters if not is_lazy(parameter)):,}"


def _trainable(parameters: set[nn.Parameter]) -> str:
    answers = {parameter.requires_grad for parameter in parameters}
    if len(answers) == 2:
        return "partly"
    return {frozenset([True]): "yes", frozenset([False]): "no"}.get(frozenset(answers), "")


def _shape_of(output: Any) -> str:
    if isinstance(output, Tensor):
        return str(tuple(output.shape))
    if isinstance(output, (list, tuple)):
        return ", ".join(map(_shape_of, output))
    if isinstance(output, dict):
        return ", ".join(f"{key} {_shape_of(value)}" for key, value in output.items())
    return type(output).__name__


@contextmanager
def kept_as_it_was(model: nn.Module) -> Iterator[None]:
    """Put modes, buffers and the random number generators of CPU and GPUs back afterwards.

    Nothing is tuned within: what cuDNN would find out for an example is of no use for batches.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
        if not is_lazy(buffer)
    ]
    gpus = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    tunes = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        with torch.random.fork_rng(devices=gpus):
            yield
    finally:
        torch.backends.cudnn.benchmark = tunes
        for module, is_training in modes:
            module.training = is_training
        for module, name, buffer, value in buffers:
            setattr(module, name, buffer.copy_(value))
