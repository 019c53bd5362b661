"""How the processes of a run train one model: each its part of a batch, all with the same gradients and weights."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from base.silent import NoCheckpoints
from config.schema import TrainerConfig
from trainer.ema import EMA
from trainer.recomputing import recompute
from trainer.sharding import divided, refusing_parts, shard
from utils.checkpoint_folder import CheckpointFolder
from utils.checkpoint_writer import CheckpointWriter
from utils.distributed import gathered, is_main, num_ranks
from utils.errors import RunError, UserError
from utils.plain_data import digest_of

if TYPE_CHECKING:
    from trainer.trainer import Trainer

NOTHING_AROUND = contextlib.nullcontext()
# What is alike because the gradients are, and what each process counts for itself.
PUT_TOGETHER = {"model", "optimizer", "lr_scheduler", "scaler", "ema", "train_sums"}


class Parallel:
    """The model as training calls it, and what surrounds a step with it; of a process alone nothing.

    Gradients are means over the processes. Where a step is one backward pass of the loss that every trainer has,
    torch's DistributedDataParallel takes them while it goes on; where `training_loss` is a trainer's own, and may do
    anything, `reduce` takes them after it.
    """

    def __init__(self, trainer: Trainer, has_own_loss: bool):
        self.model = self.called = trainer.model
        self.device = trainer.forward_pass.device
        self.is_alone = num_ranks() == 1
        self.is_sharded = is_sharded(trainer.settings)
        self.all_have_some = self.is_overlapped = False
        self.is_tried = bool(trainer.settings.compile)  # it would compile the first step for itself
        self.is_plain = not (has_own_loss or self.is_sharded) and len(trainer.optimizers) == 1
        if not self.is_alone:
            _refuse(trainer)

    def overlap(self, find_unused: bool) -> None:
        """From now on, take the mean of gradients during the backward pass. find_unused: whether some have none."""
        self.all_have_some = not find_unused
        self.called = DistributedDataParallel(
            self.model,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            find_unused_parameters=find_unused,
            gradient_as_bucket_view=True,
        )

    def begin(self) -> None:
        """Before a step: all buffers are the main process's, as DistributedDataParallel has them by itself."""
        self.is_overlapped = self.called is not self.model
        if not self.is_overlapped:
            self.share_buffers(self.model)

    def accumulating(self, is_last: bool) -> contextlib.AbstractContextManager:
        """Around a batch of a step: gradients are taken together with the last.

        Around the first batch of this process also what a rehearsal refuses, as a resumed run has none.
        """
        if self.is_sharded:
            self.model.set_requires_gradient_sync(is_last)
            if not self.is_tried:
                self.is_tried = True
                return refusing_parts()
        return NOTHING_AROUND if is_last or self.called is self.model else self.called.no_sync()

    def reduce(self, weights: Iterable[Tensor], whose: tuple[str, ...] = ()) -> None:
        """Take the mean of gradients over the processes, unless the backward pass has: not that of a step of one's own.

        whose: their optimizers. RunError where another process is at those of others, and where the backward pass still
        waits for a part of the model that this process has left out.
        """
        if self.is_overlapped:
            self.is_overlapped = False
            if self.all_have_some and not all(weight.grad is not None for weight in weights):
                raise RunError(
                    "a part of the model that a first batch has gone through is left out in this step, and the other "
                    "processes wait for its gradients; with a training_loss of the trainer's own, which may just "
                    "return super().training_loss(batch), parts may be left out"
                )
            return
        if self.is_alone or self.is_sharded:
            return
        weights = list(weights)
        names, flags = zip(*gathered((whose, [weight.grad is not None for weight in weights])), strict=True)
        if len(set(names)) > 1:
            told = " in one process and ".join(" and ".join(its) or "none" for its in dict.fromkeys(names))
            raise RunError(f"training_loss has come to a step of {told} in another: call step_with alike in all")
        weights = [weight for weight, have in zip(weights, zip(*flags, strict=True), strict=True) if any(have)]
        for weight in weights:
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        _all_at_once([weight.grad for weight in weights], lambda flat: dist.all_reduce(flat.div_(num_ranks())))

    def share_buffers(self, model: nn.Module) -> None:
        """Give all processes the main one's buffers, such as the statistics of norms: these are what is saved."""
        if not self.is_alone:
            _all_at_once(list(model.buffers()), lambda flat: dist.broadcast(flat, src=0))

    def total(self, weight: Tensor | float) -> Tensor | float:
        """The sum of what the losses of all processes weigh in a step."""
        if self.is_alone:
            return weight
        total = torch.as_tensor(weight, dtype=torch.float64, device=self.device).clone()
        dist.all_reduce(total)
        return total

    def loaded(self, trainer: Trainer, state: dict[str, Any]) -> dict[str, Any]:
        """The state in a checkpoint, with what of it is this process's read from shards where it lies in some."""
        if self.is_sharded:
            state = divided(trainer, state)
        return state["shards"].filled(state) if "shards" in state else state

    def check_alike(self, trainer: Trainer) -> None:
        """RunError where the processes have come to different weights, or another part of the state differs.

        Each would train a model of its own, and only what the main one has is saved.
        """
        if self.is_alone:
            return
        trainer.own_steps.check()
        found = {name: digest_of(trainer.parts[name].state_dict()) for name in trainer.parts.keys() - PUT_TOGETHER}
        if not self.is_sharded:
            found["model"] = _norm(self.model.parameters())
        of_all = gathered(found)
        if others := sorted(name for name in found if len({each[name] for each in of_all}) > 1):
            remedy = (
                "a trainer that overrides train_step calls self.parallel.reduce(self.model.parameters()) after its "
                "backward pass; one that overrides training_loss alone need not"
                if "model" in others
                else "what a process notes of its own samples, utils.distributed.gathered gives to all"
            )
            told = f"the {num_ranks()} processes of this run have come to different numbers in: {', '.join(others)}"
            raise RunError(f"{told}; {remedy}")


def _all_at_once(tensors: Sequence[Tensor], change: Callable[[Tensor], object]) -> None:
    """Change tensors in place, those of one type in a row as one."""
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        by_type.setdefault(tensor.dtype, []).append(tensor)
    for same in by_type.values():
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in same])
        change(flat)
        for tensor, values in zip(same, flat.split([each.numel() for each in same]), strict=True):
            tensor.detach().copy_(values.view_as(tensor))


def _norm(weights: Iterable[Tensor]) -> str:
    """As text, in which nan equals nan. Each step moves all weights, so that it tells two models apart at once."""
    return repr(float(nn.utils.get_total_norm([weight.detach().float() for weight in weights])))


def _refuse(trainer: Trainer) -> None:
    """UserError for what several processes cannot do together."""
    if trainer.closure:
        raise UserError(f"optimizer: LBFGS searches along one loss in one process; found {num_ranks()} processes")
    if trainer.forward_pass.loss_fn.state_dict():
        told = f"loss: {trainer.forward_pass.loss_fn.name} has buffers, and remembers something"
        raise UserError(f"{told}; each of {num_ranks()} processes would remember its own part: train on one")
    if not is_sharded(trainer.settings):
        return
    for key, is_there in (
        ("optimizer: several by name", len(trainer.optimizers) > 1),
        ("trainer.precision: fp16", trainer.scaler.is_enabled()),
        ("trainer.channels_last: true", trainer.settings.channels_last is True),
    ):
        if is_there:
            raise UserError(f"{key} and trainer.parallel: fsdp do not go together; set trainer.parallel to ddp")


def is_sharded(settings: TrainerConfig) -> bool:
    """Whether each process has a part of the weights only."""
    return num_ranks() > 1 and settings.parallel == "fsdp"


def spread(model: nn.Module, settings: TrainerConfig, device: torch.device) -> tuple[nn.Module, EMA | None]:
    """The model as devices and memory ask for it, and its averaged weights where they are wanted.

    All processes begin with the weights of the main one: random numbers of their own may have gone into theirs.
    """
    if num_ranks() > 1:
        for tensor in itertools.chain(model.parameters(), model.buffers()):
            dist.broadcast(tensor.detach(), src=0)
    if settings.sync_batch_norm and num_ranks() > 1:
        if device.type != "cuda":
            raise UserError(f"trainer.sync_batch_norm: found true on {device.type}, but torch has it for CUDA only")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    recompute(model, settings.activation_checkpointing)
    ema = EMA(model, settings.ema_decay) if settings.ema_decay else None
    if is_sharded(settings):
        shard(model, settings.precision)
        if ema:
            shard(ema.model, settings.precision)
    return model, ema


def checkpoints_of(
    settings: TrainerConfig, folder: CheckpointFolder | None = None, before: Callable[[], object] = lambda: None
) -> CheckpointWriter | NoCheckpoints:
    """What saves the checkpoints of this process: its part of each, or the main one all. folder: the main one's."""
    if is_sharded(settings):
        from utils.shard_writer import ShardWriter  # torch.distributed.checkpoint takes its time to import

        return ShardWriter(folder, settings.timeout.seconds, before)
    return CheckpointWriter(folder, before) if is_main() else NoCheckpoints()


def shares_told(settings: TrainerConfig, batch_size: int) -> str:
    """A line on who does what; nothing of a process alone."""
    if num_ranks() == 1:
        return ""
    weights = "its share of the weights" if is_sharded(settings) else "all weights"
    return f"{num_ranks()} processes: each has {weights}, and {batch_size // num_ranks()} samples of a batch\n"
