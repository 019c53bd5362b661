"""What is frozen: parameters that no optimizer gets, and norms that keep the statistics of frozen weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from trainer.optimizer import match_names


def freeze(model: nn.Module, globs: str | Sequence[str]) -> None:
    """Exclude the parameters whose names match from training."""
    parameters = dict(model.named_parameters())
    for name in match_names(globs, parameters, "trainer.freeze"):
        parameters[name].requires_grad_(False)


def set_training_mode(model: nn.Module) -> None:
    """Training mode, but for norms that are frozen: their running statistics belong to the frozen weights."""
    model.train()
    for module in model.modules():
        if hasattr(module, "track_running_stats") and is_frozen(module):
            module.eval()


def is_frozen(module: nn.Module) -> bool:
    parameters = list(module.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)
