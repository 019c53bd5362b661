"""What the targets of samples are, as far as numbers tell: it decides how the outputs of a model are read."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class TargetKind(NamedTuple):
    """Whether targets are whole numbers, and 0 and 1 (or -1 and 1) alone; shape: without the samples' axis."""

    is_whole: bool
    is_binary: bool
    shape: tuple[int, ...]

    @classmethod
    def of(cls, target: Any) -> TargetKind | None:
        """Of a batch; None where samples have no target, or a nested one."""
        if not isinstance(target, Tensor):
            return None
        is_binary = bool(((target == 0) | (target == 1) | (target == -1)).all())
        return cls(not target.is_floating_point(), is_binary, tuple(target.shape[1:]))
