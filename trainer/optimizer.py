"""Which parameters are trained, and in which groups of the optimizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from base import OPTIMIZERS
from base.optimizer_state import CHOICES_OF_KERNEL, with_momentum
from config.problems import nearest
from config.schema import OptimizerConfig, ParamGroupConfig
from trainer.sharding import is_divided
from utils.errors import UserError

# Those of torch with one kernel for all weights on every device: a run may be resumed on another than it began on.
# On a GPU the kernel can be told of nan (trainer/loss_guard.py).
FUSED = ("Adam", "AdamW", "SGD")
FUSED_ON = ("cpu", "cuda")


def build_optimizer(config: OptimizerConfig, model: nn.Module, key: str = "optimizer") -> Optimizer:
    """The optimizer over the trainable parameters of a model, or those of them that are its own; fused where torch can.

    key: of the config, for messages. UserError when there are no parameters.
    """
    trainable = trainable_parameters(model)
    if config.params is not None:
        trainable = {name: trainable[name] for name in match_names(config.params, trainable, f"{key}.params")}
    groups = parameter_groups(trainable, config.param_groups, config.no_decay, key)
    args = dict(config.args)
    is_open = not OPTIMIZERS.is_own(config.type) and args.keys().isdisjoint(CHOICES_OF_KERNEL)
    if is_open and can_fuse(config.type, model):
        args["fused"] = True
    return with_momentum(OPTIMIZERS.build(config.type, args, params=groups))


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are not frozen, by name; UserError when there are none."""
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise UserError("trainer.freeze leaves no parameter to train; name fewer layers in it")
    return trainable


def can_fuse(optimizer: str, model: nn.Module) -> bool:
    """Whether torch has a fused kernel for these weights: all real, none with sparse gradients or divided by FSDP."""
    weights_fit = all(
        p.is_floating_point() and p.device.type in FUSED_ON and not is_divided(p) for p in model.parameters()
    )
    has_sparse = any(getattr(module, "sparse", False) for module in model.modules())
    return optimizer in FUSED and weights_fit and not has_sparse


def parameter_groups(
    trainable: dict[str, Tensor], param_groups: Sequence[ParamGroupConfig], no_decay: bool, key: str
) -> list[dict[str, Any]]:
    """Divide parameters by name.

    A parameter goes to the first group with a glob that its name matches, the others to a group of the optimizer's
    own arguments. no_decay: biases and the parameters of norms (all with fewer than two dimensions) get
    `weight_decay: 0` in whatever group they are.
    """
    divided: list[dict[str, Any]] = []
    taken: set[str] = set()
    for i, group in enumerate(param_groups):
        matching = match_names(group.params, trainable, f"{key}.param_groups.{i}.params")
        names = [name for name in matching if name not in taken]
        if not names:
            raise UserError(f"{key}.param_groups.{i}.params: the groups before take all parameters that match")
        taken.update(names)
        divided.append({"names": names, **group.args})
    divided.insert(0, {"names": [name for name in trainable if name not in taken]})

    groups = []
    for group in divided:
        names = group.pop("names")
        decayed = [trainable[name] for name in names if not no_decay or trainable[name].ndim >= 2]
        undecayed = [trainable[name] for name in names if no_decay and trainable[name].ndim < 2]
        groups += [{"params": decayed, **group}] if decayed else []
        groups += [{"params": undecayed, **group, "weight_decay": 0.0}] if undecayed else []
    return groups


def match_names(globs: str | Sequence[str], names: Iterable[str], key: str, what: str = "parameter") -> list[str]:
    """The names that match the glob or one of the globs; UserError when a glob matches none."""
    globs = [globs] if isinstance(globs, str) else globs
    names = list(names)
    for glob in globs:
        if not any(fnmatchcase(name, glob) for name in names):
            near = nearest(glob.rstrip(".*"), names, at_most=3, cutoff=0.3)
            known = ", ".join(near or names[:3])
            raise UserError(f"{key}: no {what}'s name matches '{glob}'; there are {known} ...")
    return [name for name in names if any(fnmatchcase(name, glob) for glob in globs)]
