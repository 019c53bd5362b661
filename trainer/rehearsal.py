"""Before a run folder is made: what only a first step or the whole schedule can tell, is tried, told and put back."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from base.base_model import kept_as_it_was
from base.base_trainer import BaseTrainer
from base.batch import Batch, map_tensors
from trainer.data_check import check_data
from trainer.sharding import own_part, refusing_parts
from trainer.trainer import Trainer
from utils.distributed import num_ranks
from utils.errors import UserError, is_devices, telling_of_memory
from utils.plain_data import copy_plain
from utils.seeding import seed_everything
from utils.streams import without_messages_of_libraries
from utils.torch_internals import values_of, without_compiler

FEW = 8  # samples show as much as a batch, nearly always


def rehearse(trainer: BaseTrainer) -> None:
    """Take a training step and evaluate with a few samples, then put everything back.

    Tried with a whole batch where that fails: some losses and layers want many samples. Errors in own code stay as they
    are; UserError for the optimizer's, and where what is monitored is not among the scores.
    """
    for num_samples in sorted({min(FEW, trainer.train_loader.batch_size), trainer.train_loader.batch_size}):
        with telling_of_memory(lambda: "in the rehearsal", num_samples):
            try:
                _try_out(trainer, num_samples)
                break
            except Exception as error:
                if is_devices(error):  # more samples need more memory, and a device that has failed does so again
                    raise
                failure = error
    else:
        raise failure
    if isinstance(trainer, Trainer):
        check_precision(trainer)


def warm_up(trainer: BaseTrainer) -> None:
    """Several processes: take the backward pass of a few samples, then put everything back.

    It tells which weights get gradients, and DistributedDataParallel in which order they come: it adds them up in that
    order from the second pass on, so this pass is not one of the run's, or a resumed run would end with other bits.
    """
    if num_ranks() == 1:
        return
    if not isinstance(trainer, Trainer):
        raise UserError(f"trainer.type: {type(trainer).__name__} is no Trainer, and trains in one process only")
    check_single_sample(trainer)
    parallel, weights = trainer.parallel, [weight for weight in trainer.model.parameters() if weight.requires_grad]
    if not parallel.is_plain:
        return
    batch = trainer.train_loader.example(FEW)
    with put_back(trainer):
        trainer.training_loss(batch).loss.backward()
        has_unused = any(weight.grad is None for weight in weights)
        # Of several batches, the last alone may leave out a part: to look for it there is cheap beside all of them.
        parallel.overlap(find_unused=has_unused or trainer.plan.accumulate_steps > 1)
        with without_messages_of_libraries():  # torch warns once that nothing was left out: it may be later
            trainer.training_loss(batch).loss.backward()


def check_single_sample(trainer: Trainer) -> None:
    """UserError where a process gets one sample of the last batch, and the model takes no single one: BatchNorm."""
    loader = trainer.train_loader
    last = min(loader.batch_size, loader.num_samples - (len(loader) - 1) * loader.batch_size)
    if last // num_ranks() > 1:
        return
    try:
        with put_back(trainer), torch.no_grad():
            trainer.forward_pass(trainer.model, loader.example(1), training=True)
    except ValueError as error:
        raise UserError(
            f"data_loader.batch_size: the last batch of an epoch has {last} samples for {num_ranks()} processes, and "
            f"with one sample alone the model fails: {error}; set another, or data_loader.drop_last to true"
        ) from error


def check_precision(trainer: Trainer) -> None:
    """UserError where the gradients of a batch in low precision are another order of magnitude than those in fp32.

    torch's kernels for a CPU's matrix instructions (AMX) are wrong for some small shapes, and a gradient of 1e10 is
    finite. Half precision may overflow and underflow: its loss is scaled for that. Weights that fsdp has divided are
    gathered in low precision, and there is nothing to compare with.
    """
    precision = trainer.settings.precision
    if precision == "fp32" or trainer.forward_pass.device.type != "cpu" or trainer.parallel.is_sharded:
        return
    batch = trainer.train_loader.example(trainer.train_loader.batch_size)
    right, low = (_gradient_norm(trainer, batch, precision) for precision in ("fp32", precision))
    is_far_above = math.isfinite(low) and low > 10 * right
    if is_far_above or (precision == "bf16" and not right / 10 <= low <= right * 10):
        raise UserError(
            f"trainer.precision: with {precision}, the gradients of a first batch have the norm {low:.3g}, with fp32 "
            f"{right:.3g}: this processor's kernels cannot be trusted with this model; set trainer.precision to fp32, "
            "or train on a GPU"
        )


def _gradient_norm(trainer: Trainer, batch: Batch, precision: str) -> float:
    forward_pass = copy.copy(trainer.forward_pass)
    forward_pass.precision = precision
    with put_back(trainer):
        seed_everything(trainer.seed, "step", 0)
        forward_pass(trainer.model, batch, training=True).loss.backward()
        gradients = values_of(parameter.grad for parameter in trainer.model.parameters())
        return float(nn.utils.get_total_norm(gradients))


def check_all_learn(trainer: Trainer) -> None:
    """UserError where the loss of the config, after a step, has reached no weight of one of several optimizers."""
    has_own_loss = type(trainer).training_loss is not Trainer.training_loss  # which may let one rest in some steps
    idle = [name for name in trainer.optimizers if name not in trainer.own_steps.left]
    if idle and not has_own_loss:
        raise UserError(
            f"optimizer.{idle[0]}: the loss depends on none of its weights, and they would stay as they are; is "
            "trainer.type one that gives it a loss of its own (AdversarialTrainer, or yours: docs/own_steps.md)?"
        )


def dry_run(trainer: BaseTrainer) -> str:
    """Take one step and evaluate one batch; returns what to tell the user."""
    scores = _step_and_evaluate(trainer, trainer.train_loader.batch_size)
    return "\n".join([trainer.description, *(f"{name}: {value:.6g}" for name, value in scores.items())])


def _try_out(trainer: BaseTrainer, num_samples: int) -> None:
    with put_back(trainer), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each will come again, when it counts
        if isinstance(trainer, Trainer):
            check_data(trainer, num_samples)
        scores = _step_and_evaluate(trainer, num_samples)
        monitor = trainer.settings.monitor
        if monitor is not None and monitor.metric not in scores and trainer.stop_reason is None:
            raise UserError(f"trainer.monitor: found '{monitor}'; the scores of this run are: {', '.join(scores)}")
        if monitor is None or monitor.metric in scores:
            trainer.after_evaluation(scores)
        _states(trainer, lambda _, tensor: tensor)


def _step_and_evaluate(trainer: BaseTrainer, num_samples: int) -> dict[str, float]:
    """The scores of a step and an evaluation as the loop would take them."""
    batch = trainer.train_loader.example(num_samples)
    batches = [batch] * min(2, trainer.plan.accumulate_steps)
    trainer.begin_step(batches)
    is_sharded = isinstance(trainer, Trainer) and trainer.parallel.is_sharded
    try:
        with refusing_parts() if is_sharded else contextlib.nullcontext():
            trainer.train_step(batches)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        if not is_devices(error) and any("torch/optim/" in frame.filename for frame in frames):
            config = trainer.metadata["config"]["optimizer"]
            types = [config["type"]] if "type" in config else [each["type"] for each in config.values()]
            raise UserError(f"optimizer {' or '.join(types)}: {error}") from error
        raise
    if isinstance(trainer, Trainer):
        check_all_learn(trainer)
    trainer.check_steps()
    scores = trainer.train_sums.compute()
    if trainer.valid_loader is not None:
        valid_scores = trainer.evaluate(_OneBatch(trainer.valid_loader.example(num_samples))) or {}  # of a stop
        scores |= {f"val_{name}": value for name, value in valid_scores.items()}
    return scores


@contextlib.contextmanager
def put_back(trainer: BaseTrainer) -> Iterator[None]:
    """Bring all parts back to where they were, as a resumed run would."""
    modules = [part for part in trainer.parts.values() if isinstance(part, nn.Module)]
    with contextlib.ExitStack() as stack, without_compiler():
        for module in modules:
            stack.enter_context(kept_as_it_was(module))
        if trainer.settings.compile:  # for these few samples it would compile a graph that no batch fits
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        states = _copies(trainer)
        try:
            yield
        finally:
            for name, part in trainer.parts.items():
                part.load_state_dict(states[name])
            for parameter in itertools.chain.from_iterable(module.parameters() for module in modules):
                parameter.grad = None


def _copies(trainer: BaseTrainer) -> dict[str, Any]:
    """The state of each part, to be loaded again; what is divided among processes stays where and as it is."""
    if isinstance(trainer, Trainer) and trainer.parallel.is_sharded:
        return {name: map_tensors(part.state_dict(), torch.clone) for name, part in trainer.parts.items()}
    return _states(trainer, lambda _, tensor: tensor.to("cpu", copy=True))


def _states(trainer: BaseTrainer, tensor_fn: Callable[[Any, Tensor], Tensor]) -> dict[str, Any]:
    """The state of each part as a checkpoint would hold it, with tensor_fn(place, tensor) for each tensor."""
    states = {}
    for name, part in trainer.parts.items():
        try:
            state = part.state_dict()
            if isinstance(trainer, Trainer) and trainer.parallel.is_sharded:
                state = map_tensors(state, own_part)
            states[name] = copy_plain(state, tensor_fn, (name,))
        except ValueError as error:
            raise UserError(f"the state of the {name} cannot be saved: {error}") from error
    return states


class _OneBatch(NamedTuple):
    """A loader of a single batch."""

    batch: Batch

    def batches(self) -> Iterator[Batch]:
        yield self.batch
