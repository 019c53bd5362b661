"""All that is private in torch, torchmetrics and Python, or patched there: mostly faster calls, with the same bits.

Each name is looked for once, at import, and its arguments or what it returns are checked. Where torch lacks it, or
TEMPLATE_PUBLIC_ONLY=1 is in the environment, the public call takes its place; docs/performance.md says what each is
worth.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from math import nan
from multiprocessing.queues import Queue
from threading import Event
from typing import Any

import torch
from torch import Tensor
from torch.autograd import graph
from torch.optim import Optimizer, lr_scheduler
from torch.optim import optimizer as torch_optimizer

PUBLIC_ONLY = os.environ.get("TEMPLATE_PUBLIC_ONLY", "0") not in ("", "0")


@cache
def constant(value: float, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """`value` as a tensor () that is made once and shared by all who ask for it: not to be changed."""
    with torch.inference_mode(False):  # made in inference mode, it could not take part in a backward pass
        return torch.full((), value, device=device, dtype=dtype)


# The backward pass: Tensor.backward checks arguments that are never given here.

_BACKWARD_OPTIONS = {"allow_unreachable": True, "accumulate_grad": True}


def _find_engine() -> Callable | None:
    engine = None if PUBLIC_ONLY else getattr(graph, "_engine_run_backward", None)
    try:
        inspect.signature(engine).bind((), (), False, False, (), **_BACKWARD_OPTIONS)
    except TypeError:  # it is None, or takes other arguments
        return None
    return engine


_run_engine = _find_engine()


def backward(loss: Tensor, weights: tuple[Tensor, ...] = ()) -> None:
    """Add the gradients of `loss`, a real tensor (), to those of these weights, or of all."""
    if _run_engine is None or type(loss) is not Tensor:  # a subclass may have a way of its own
        loss.backward(inputs=weights or None)
    else:
        one = constant(1.0, loss.device, loss.dtype)
        _run_engine((loss,), (one,), False, False, weights, **_BACKWARD_OPTIONS)


# The optimizer: what torch wraps around its methods serves its profiler and its compiler, which it imports for that.

_HOOKS_OF_ALL = [getattr(torch_optimizer, f"_global_optimizer_{when}_hooks", None) for when in ("pre", "post")]
_zero_grad = Optimizer.zero_grad
_can_step_bare = not PUBLIC_ONLY and None not in _HOOKS_OF_ALL


def take_step(optimizer: Optimizer) -> None:
    """Let the optimizer change the weights."""
    step = _bare_step(type(optimizer).step) if _can_step_bare and not _is_watched(optimizer) else None
    if step is None:
        optimizer.step()
        return
    with torch.no_grad():
        step(optimizer)
    optimizer._opt_called = True  # what a scheduler's wrapper would note: without it, torch takes the order for wrong


def _is_watched(optimizer: Optimizer) -> bool:
    """Whether `optimizer.step()` does more than change the weights: hooks, derivatives, a step put on the object."""
    own = vars(optimizer)
    return bool(
        own.get("_optimizer_step_pre_hooks", True)
        or own.get("_optimizer_step_post_hooks", True)
        or _HOOKS_OF_ALL[0]
        or _HOOKS_OF_ALL[1]
        or optimizer.defaults.get("differentiable")
        or ("step" in own and not _is_schedulers(own["step"], type(optimizer)))
    )


def _is_schedulers(step: Any, kind: type[Optimizer]) -> bool:
    """Whether a step put on the object is torch's own: each scheduler puts one there, which notes that it is called."""
    return _module(step) == lr_scheduler.__name__ and getattr(step, "__wrapped__", None) is kind.step


@cache
def _bare_step(step: Callable) -> Callable | None:
    """The step of one of torch's optimizers with nothing around it; None for any other's."""
    bare = _unwrapped(step, torch_optimizer.__name__)
    is_torchs = bare.__module__.startswith("torch.optim.") and _module(bare).startswith("torch.")
    return bare if is_torchs and _module(bare) != torch_optimizer.__name__ else None


def _unwrapped(function: Callable, module: str) -> Callable:
    """The function without what a module of torch has wrapped around it."""
    return inspect.unwrap(function, stop=lambda inner: _module(inner) != module)


def _module(function: Callable) -> str:
    """Where a function was written, which a wrapper's __module__ does not tell; "" of an object that is called."""
    return getattr(function, "__globals__", {}).get("__name__", "")


def clear_gradients(optimizer: Optimizer) -> None:
    """Forget the gradients of all weights that the optimizer has."""
    if PUBLIC_ONLY or type(optimizer).zero_grad is not _zero_grad or "zero_grad" in vars(optimizer):
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


@contextmanager
def without_compiler() -> Iterator[None]:
    """While optimizers are made, saved or loaded: keeps torch from importing its compiler for it, two seconds.

    What does so is a guard around three methods, which no compiled code calls here; it is put back in the end.
    """
    names = () if PUBLIC_ONLY else ("add_param_group", "state_dict", "load_state_dict")
    methods = {name: getattr(Optimizer, name) for name in names}
    for name, method in methods.items():
        setattr(Optimizer, name, _unwrapped(method, "torch._compile"))
    try:
        yield
    finally:
        for name, method in methods.items():
            setattr(Optimizer, name, method)


# Gradients that are nan or infinite: what torch's GradScaler has for itself.


def _find_kernel() -> Callable | None:
    kernel = None if PUBLIC_ONLY else getattr(torch, "_amp_foreach_non_finite_check_and_unscale_", None)
    num_bad = torch.zeros(())
    try:
        kernel([torch.tensor([float("inf")])], num_bad, torch.ones(()))
    except (TypeError, RuntimeError):  # it is None, or takes other arguments
        return None
    return kernel if num_bad.item() == 1 else None


_non_finite_kernel = _find_kernel()


def any_non_finite(tensors: list[Tensor]) -> Tensor:
    """1.0 if any of these real, dense tensors holds nan or infinity, else 0.0: in a tensor () on their one device."""
    if not tensors:
        return torch.zeros(())
    num_bad = constant(0.0, tensors[0].device).clone()
    if _non_finite_kernel is None:
        return num_bad.copy_(~torch.stack([tensor.isfinite().all() for tensor in tensors]).all())
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_dtype.setdefault(tensor.dtype, []).append(tensor)
    for same in by_dtype.values():
        _non_finite_kernel(same, num_bad, constant(1.0, num_bad.device))  # multiplies them too: by one
    return num_bad


def values_of(gradients: Iterable[Tensor | None]) -> list[Tensor]:
    """The numbers in the gradients that are there: real, those of a sparse one as a dense tensor, those of one that is
    divided among processes as far as they are here.
    """
    here = [grad.to_local() if hasattr(grad, "to_local") else grad for grad in gradients if grad is not None]
    dense = [grad.coalesce().values() if grad.is_sparse else grad for grad in here]
    return [torch.view_as_real(values) if values.is_complex() else values for values in dense]


def leave_out_step(optimizer: Optimizer, is_bad: Tensor) -> None:
    """Have an optimizer that can, leave the weights alone where `is_bad` is 1, with nobody waiting for the device."""
    if not PUBLIC_ONLY and getattr(optimizer, "_step_supports_amp_scaling", False):
        optimizer.found_inf = is_bad  # as GradScaler tells it


# Many small tensors copied by one kernel.

_foreach_copy = None if PUBLIC_ONLY else getattr(torch, "_foreach_copy_", None)


def copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """Copy each source into its target."""
    if _foreach_copy is not None and targets:
        _foreach_copy(targets, sources)
        return
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


def version_of(tensor: Tensor) -> float:
    """A number that is another after each change in place; nan, which equals nothing, where none is kept."""
    return nan if PUBLIC_ONLY or tensor.is_inference() else getattr(tensor, "_version", nan)


# What several processes have counted in a metric of torchmetrics.


def reductions_of(metric: Any) -> dict[str, Callable | None] | None:
    """By what each part of a metric's state is put together with another's; None: by its `merge_state` alone."""
    return None if PUBLIC_ONLY else getattr(metric, "_reductions", None)


# A loader process that has no shared memory or file descriptor left for a batch, which is then waited for in vain.


def call_when_unsent(function: Callable[[Exception], None]) -> None:
    """Have `function` called with the error of what this process cannot put in a queue; Python only prints it."""
    if not PUBLIC_ONLY and hasattr(Queue, "_on_queue_feeder_error"):
        Queue._on_queue_feeder_error = staticmethod(lambda error, unsent: function(error))


# Torch tells its loader processes to end by an event that they share. One that is killed while it looks at the event
# leaves it locked, and torch waits for it: for ever.


class _Ending(Event):
    def __init__(self, function: Callable[[], None], shared: Any):
        super().__init__()
        self._function = function
        self._shared = shared  # processes that are not forked open it when they begin: it must be there still

    def set(self) -> None:
        self._function()
        super().set()


def call_at_the_end_of(batches: Iterator, function: Callable[[], None]) -> None:
    """Have `function` called where the iterator of a DataLoader would tell its processes to end."""
    if not PUBLIC_ONLY and hasattr(batches, "_workers_done_event"):
        batches._workers_done_event = _Ending(function, batches._workers_done_event)
