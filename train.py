"""Train a model: python train.py -c config/digits.yaml"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config.command_line import train_options
from config.problems import ConfigError, Problem, found
from experiment import build_forward_pass, build_model, exit_code_of, load_registries, tell
from utils.errors import RunError, UserError

if TYPE_CHECKING:
    from base import BaseTrainer
    from config.layers import Document
    from config.schema import Config
    from utils.run_folder import RunFolder

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    return exit_code_of(follow, train_options(argv))


def follow(options: argparse.Namespace) -> int:
    if options.list or options.describe:
        show_components(options)
        return 0
    refuse_several_processes()
    config, document, run = read_experiment(options)
    if options.print_config:
        from config.load import annotated_config

        print(annotated_config(config, document), end="")
        return 0
    if run is None:
        refuse_save_dir(config, document)
    elif not options.dry_run:
        run.lock()
    checkpoint = find_checkpoint(run, options.resume) if run is not None else None
    trainer = build(config, is_resumed=checkpoint is not None)
    if options.dry_run:
        if checkpoint is not None:
            load_checkpoint(trainer, *checkpoint)
        print(trainer.try_out())
        return 0
    return train(trainer, config, run, checkpoint)


def show_components(options: argparse.Namespace) -> None:
    load_registries()
    from base.catalog import describe_component, list_components

    print(describe_component(options.describe) if options.describe else list_components(options.list))


def refuse_several_processes() -> None:
    """UserError under torchrun: its processes would all train the same model."""
    num_processes = os.environ.get("WORLD_SIZE", "1")
    if num_processes != "1":
        raise UserError(
            f"torchrun started {num_processes} processes (WORLD_SIZE), but this version trains on one: "
            "start it with `python train.py ...`, and choose the GPU with --device cuda:N"
        )


def read_experiment(options: argparse.Namespace) -> tuple[Config, Document, RunFolder | None]:
    """The checked config, and the run folder to go on in, if any. ConfigError with all that is wrong, told."""
    from config.compare import refuse_changes
    from config.load import check_config, read_config

    if options.config:
        document = read_config(options.config, options.overrides)
        config = check_config(document, load_registries, tell)
    if not options.resume:
        return config, document, None

    from utils.run_folder import resolve_run

    if options.config:
        run = resolve_run(options.resume, config.trainer.save_dir, config.name)
    else:
        run = resolve_run(options.resume)
        document = read_config([str(run.path / "config.yaml")], options.overrides)
        config = check_config(document, load_registries, tell)
    if run is not None and (run.path / "config.yaml").exists():  # a run killed at its very start may lack it
        refuse_changes(check_config(read_config([str(run.path / "config.yaml")])), config, document)
    return config, document, run


def refuse_save_dir(config: Config, document: Document) -> None:
    """ConfigError where no run folder can be made: told before the data are read, and by a dry run too."""
    from utils.files import obstacle_to

    key, save_dir = ("trainer", "save_dir"), config.trainer.save_dir
    if obstacle := obstacle_to(Path(save_dir, config.name)):
        message = f"{found(save_dir)}, but {obstacle}; expected a folder to write in, or the path of a new one"
        raise ConfigError([Problem(document.origin(key), key, message)])


def build(config: Config, is_resumed: bool = False) -> BaseTrainer:
    """Everything that a run is made of: data, model, loss, optimizer, schedule, trainer."""
    from base import TRAINERS, Plan
    from data_loader.loader import build_loaders
    from model.class_weights import with_class_weights
    from model.metric import build_metrics
    from trainer.lr_schedule import LRSchedule
    from trainer.optimizer import build_optimizer
    from trainer.weights import prepare_model
    from utils.machine import fingerprint, prepare_device

    settings = config.trainer
    device = prepare_device(config.device, settings.deterministic)

    train_loader, valid_loader = build_loaders(config.dataset, config.data_loader, config.seed, device)
    plan = Plan(len(train_loader), settings.epochs, settings.max_steps, settings.accumulate_steps)

    # The targets of ten million samples take their time, so they are asked for only where they count.
    loss = with_class_weights(config.loss, train_loader.targets if config.loss.class_weights else None)
    forward_pass = build_forward_pass(config, loss, device)

    model = build_model(config.model, config.seed, is_trained=is_resumed)
    description = prepare_model(model, settings, forward_pass, train_loader.example().data, is_trained=is_resumed)

    optimizer = build_optimizer(config.optimizer, model)
    lr_schedule = LRSchedule(config.lr_scheduler, optimizer, plan, settings.monitor)

    return TRAINERS.build(
        settings.type,
        settings.args,
        settings=settings,
        plan=plan,
        seed=config.seed,
        model=model,
        forward_pass=forward_pass,
        metrics=build_metrics(config.metrics, config.loss.type),
        optimizer=optimizer,
        lr_schedule=lr_schedule,
        train_loader=train_loader,
        valid_loader=valid_loader,
        header={
            "config": config.model_dump(),
            "loss": loss.model_dump(),
            "classes": train_loader.classes,
            "channels_last": forward_pass.channels_last,
            "machine": fingerprint(device),
        },
        description=description,
    )


def find_checkpoint(run: RunFolder, resume: str) -> tuple[Path, dict[str, Any]] | None:
    """The checkpoint to go on from and its state: the one named, or the newest; None for a run that has none yet."""
    from utils.checkpoint import read_checkpoint
    from utils.checkpoint_folder import CheckpointFolder

    named = [Path(resume), run.checkpoints / Path(resume).name]
    path = next((path for path in named if path.is_file()), None)
    return CheckpointFolder(run.checkpoints).newest() if path is None else (path, read_checkpoint(path))


def load_checkpoint(trainer: BaseTrainer, path: Path, state: dict[str, Any]) -> None:
    """Bring a trainer to where a checkpoint was saved. UserError when it is one of another model."""
    from trainer.weights import check_fit

    check_fit(trainer.parts["model"], state["model"], path)
    trainer.load_state_dict(state)


def train(
    trainer: BaseTrainer, config: Config, run: RunFolder | None, checkpoint: tuple[Path, dict[str, Any]] | None
) -> int:
    """Train in a run folder, the one to go on in or a new one; returns the exit code."""
    import signal

    from config.load import dump_config
    from trainer.journal import Journal
    from utils.checkpoint_folder import CheckpointFolder
    from utils.checkpoint_writer import CheckpointWriter
    from utils.logs import logging_to
    from utils.machine import describe_run, warn_of_changes
    from utils.run_folder import RunFolder

    settings = config.trainer
    if run is None:
        run = RunFolder.create(settings.save_dir, config.name)
        run.lock()
    checkpoints = CheckpointWriter(CheckpointFolder(run.checkpoints, settings.keep_last), before=run.sync_logs)
    if checkpoint is None:
        run.rewind({})
    else:
        path, state = checkpoint
        load_checkpoint(trainer, path, state)
        checkpoints.resume_from(path, trainer.step)
        run.rewind(state["logs"])
    run.write_config(dump_config(config))
    run.start(describe_run(trainer.forward_pass.device))
    status = "failed"
    try:
        with logging_to(run.path / "train.log"), Journal(run, trainer.plan, settings) as journal:
            if checkpoint is not None:
                warn_of_changes(state.get("machine"), trainer.header["machine"])
            try:
                reason = trainer.fit(journal, checkpoints)
                journal.finish(trainer, reason)
            except (RunError, OSError) as failure:
                logger.error("%s", failure)
                return 1
        status = "finished" if reason is None else "stopped"
    finally:
        try:
            checkpoints.wait()
        finally:
            run.set_status(status)
            run.unlock()
    return 128 + signal.Signals[reason] if reason in signal.Signals.__members__ else 0


if __name__ == "__main__":
    sys.exit(main())
