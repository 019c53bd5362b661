"""Train a model: python train.py -c config/digits.yaml"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from config.command_line import parse_train_options
from config.problems import ConfigError, Problem, found
from script import exit_code_of, load_registries, tell
from utils.errors import UserError, placing_mistakes

if TYPE_CHECKING:  # what takes its time to import waits until the config is known to be right
    from config.schema import Config
    from config.yaml_reader import Document
    from utils.run_folder import RunFolder


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    return exit_code_of(run_command, parse_train_options(argv))


def run_command(options: argparse.Namespace) -> int:
    if options.list or options.describe:
        show_components(options)
        return 0
    refuse_several_processes()
    config, document, run = read_experiment(options)
    if options.print_config:
        from config.yaml_writer import write_annotated

        print(write_annotated(config.model_dump(), document.origins), end="")
        return 0
    if run is None:
        refuse_save_dir(config, document)
    elif not options.dry_run:
        run.lock()

    from experiment import build_trainer, find_checkpoint, load_checkpoint, train_in_folder
    from trainer.rehearsal import dry_run, rehearse

    checkpoint = find_checkpoint(run, options.resume) if run is not None else None
    with placing_mistakes(document.origins):
        trainer = build_trainer(config, is_resumed=checkpoint is not None)
        if checkpoint is None:
            rehearse(trainer)
    if checkpoint is not None:
        load_checkpoint(trainer, *checkpoint)
    if options.dry_run:
        print(dry_run(trainer))
        return 0
    return train_in_folder(run, trainer, config, checkpoint)


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


if __name__ == "__main__":
    sys.exit(main())
