"""An experiment: the objects that a config describes, and their training in a run folder."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import torch

from base import REGISTRIES, TRAINERS, BaseTrainer, Plan, replaced_components
from base.base_model import summarise
from base.batch import ModelInputs, split_target
from base.journal import Journal
from base.silent import train_silently
from config.schema import Config, LossConfig
from config.yaml_writer import write_yaml
from data_loader.build import build_batch_transforms, build_loaders
from data_loader.facts import data_of_checkpoint, facts_of_inputs, facts_of_targets, summary_of
from data_loader.library_splits import part_to_evaluate
from model.build import build_model, try_on
from model.build_loss import build_loss
from model.build_metrics import build_metrics
from model.class_weights import with_class_weights
from model.data_facts import with_facts
from model.initial_weights import first_weights
from resuming import Checkpoint, check_data_of_all, tell_new_rate
from trainer.forward import ForwardPass
from trainer.freezing import freeze
from trainer.memory_format import choose_memory_format
from trainer.optimizers import build_optimizers
from trainer.parallel import checkpoints_of, is_sharded, shares_told, spread
from utils.checkpoint_folder import CheckpointFolder
from utils.checkpoint_writer import CheckpointWriter
from utils.distributed import is_main, telling_of_others, told_by_another
from utils.errors import RunError, telling_of_memory
from utils.logs import logging_to
from utils.machine import describe_run, fingerprint, prepare_device, warn_of_changes
from utils.run_folder import RunFolder
from utils.stopping import exit_code_after

logger = logging.getLogger(__name__)


def build_trainer(config: Config, saved: dict[str, Any] | None = None, depth: int | None = 1) -> BaseTrainer:
    """Everything that a run is made of: data, model, loss, optimizer, schedule, trainer.

    saved: the state in the checkpoint that the run goes on from: its preprocessing is used again, and no first weights
    are downloaded or read. depth: how many levels of the model's layers the run's description shows; None: all.
    """

    def inputs_of(num_samples: int) -> ModelInputs:
        return forward_pass.prepare(train_loader.example(num_samples).data, training=False)[0]

    settings, is_resumed = config.trainer, saved is not None
    device = prepare_device(config.device, settings.deterministic)

    preprocessing = (saved or {}).get("data", {}).get("preprocessing")
    train_loader, valid_loader = build_loaders(config.dataset, config.data_loader, config.seed, device, preprocessing)
    plan = Plan(len(train_loader), settings.epochs, settings.max_steps, settings.accumulate_steps)

    loss = config.loss
    if loss.class_weights == "balanced":  # the targets of ten million samples take their time
        loss = with_class_weights(loss, train_loader.targets)
    first = train_loader.example()
    facts = facts_of_targets(train_loader.dataset, split_target(first.data)[1])
    forward_pass = build_forward_pass(config, loss, device, train_loader.dataset, facts)
    example, _ = forward_pass.prepare(first.data, training=False)
    in_training, _ = forward_pass.prepare(first.data, training=True)  # which may be of another size
    facts |= facts_of_inputs(train_loader.dataset, example)

    model = build_model(with_facts(config.model, facts, config.loss.type), config.seed, is_resumed).to(device)
    try_on(model, example)
    try_on(model, in_training)
    report = "" if is_resumed else first_weights(model, config, inputs_of, example, train_loader.dataset)
    freeze(model, settings.freeze)
    if not is_sharded(settings):  # whose weights lie flat in memory
        choose_memory_format(forward_pass, model, first.data, settings.channels_last)

    data = data_of_checkpoint(train_loader, valid_loader, facts, first)
    check_data_of_all(data["fingerprint"])
    model, ema = spread(model, settings, device)
    optimizer, lr_schedule = build_optimizers(config.optimizer, config.lr_scheduler, model, plan, settings.monitor)

    return TRAINERS.build(
        settings.type,
        settings.args,
        settings=settings,
        plan=plan,
        seed=config.seed,
        model=model,
        forward_pass=forward_pass,
        ema=ema,
        metrics=build_metrics(config.metrics, config.loss, facts),
        optimizer=optimizer,
        lr_schedule=lr_schedule,
        train_loader=train_loader,
        valid_loader=valid_loader,
        metadata=metadata_of(config, loss, forward_pass, train_loader.classes, data),
        description=f"{summary_of(train_loader, valid_loader, first, in_training, example, config.data_loader.fold)}\n"
        f"{shares_told(settings, train_loader.batch_size)}{report}"
        f"{summarise(model, *example.args, depth=depth, **example.kwargs)}",
    )


def metadata_of(
    config: Config, loss: LossConfig, forward_pass: ForwardPass, classes: list[str] | None, data: dict[str, Any]
) -> dict[str, Any]:
    """What every checkpoint says besides the state; docs/architecture.md lists it."""
    return {
        "config": config.model_dump(),
        "loss": loss.model_dump(),
        "classes": classes,
        "channels_last": forward_pass.channels_last,
        "data": data,
        "machine": fingerprint(forward_pass.device),
    }


def build_forward_pass(
    config: Config, loss: LossConfig, device: torch.device, dataset: Any, facts: dict[str, int]
) -> ForwardPass:
    """What a batch of a dataset goes through, besides the model. facts: what the data say of themselves."""
    transforms = config.dataset.batch_transforms
    return ForwardPass(
        loss_fn=build_loss(loss),
        train_transforms=build_batch_transforms(transforms, "train", facts),
        eval_transforms=build_batch_transforms(transforms, "eval", facts),
        device=device,
        precision=config.trainer.precision,
        target_scale=getattr(dataset, "target_scale", None),
    )


def train_in_folder(run: RunFolder | None, trainer: BaseTrainer, config: Config, checkpoint: Checkpoint | None) -> int:
    """Train in a run folder, a new one where there is none to go on in; returns the exit code.

    checkpoint: the one that the trainer has been brought to, None for a run from the start.
    """
    if not is_main():
        return exit_code_after(train_silently(trainer, checkpoints_of(trainer.settings), checkpoint is not None))
    if run is None:
        run = RunFolder.create(config.trainer.save_dir, config.name)
        run.lock()
    run.log_folders |= {each.type.lower() for each in config.trainer.loggers}
    folder = CheckpointFolder(run.checkpoints, config.trainer.keep_last)
    checkpoints = checkpoints_of(config.trainer, folder, before=run.sync_logs)
    if checkpoint is None:
        run.rewind({})
    else:
        path, state = checkpoint
        # What was due after an unsettled step changes the counters: it is saved again when that is done.
        checkpoints.resume_from(path, trainer.step if trainer.is_settled else None)
        run.rewind(state["logs"])
    run.write_config(write_yaml(config.model_dump()))
    run.start(describe_run(trainer.forward_pass.device))
    status = "failed"
    try:
        with logging_to(run.path / "train.log"), Journal(run, trainer.plan, config) as journal:
            for line in replaced_components(REGISTRIES.values()):
                logger.info("%s", line)
            if checkpoint is not None:
                warn_of_changes(state.get("machine"), trainer.metadata["machine"])
                tell_new_rate(trainer, state)
            try:
                reason = fit(trainer, config, journal, checkpoints)
            except (RunError, OSError) as failure:
                told = told_by_another(failure)
                logger.error("%s", told or failure, extra={"is_told": told is not None})
                with contextlib.suppress(RunError):  # of another process that has ended
                    checkpoints.wait()
                run.tell_what_is_saved()
                return 1
        status = "finished" if reason is None else "stopped"
    finally:
        try:
            checkpoints.wait()
        finally:
            run.set_status(status)
            run.unlock()
    return exit_code_after(reason)


def fit(trainer: BaseTrainer, config: Config, journal: Journal, checkpoints: CheckpointWriter) -> str | None:
    """Train to the end of the plan or until a stop, and tell of the end; returns the reason of the stop, if any."""

    def where() -> str:
        return f"{'' if trainer.is_settled else 'in the evaluation '}after step {trainer.step:,}"

    with telling_of_others(), telling_of_memory(where, config.data_loader.batch_size):
        reason = trainer.fit(journal, checkpoints)
    if reason is None and is_sharded(config.trainer):
        checkpoints.make_plain()
    split = part_to_evaluate(config.dataset, config.data_loader.fold, trainer.valid_loader is not None)
    journal.finish(trainer.step, trainer.best, reason, split)
    return reason
