"""Train a model: python train.py -c config/digits.yaml"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from config.command_line import parse_train_options
from script import exit_code_of, load_registries, tell
from utils.distributed import from_main, is_main, is_restarted, joined, num_ranks
from utils.errors import placing_mistakes, telling_of_memory

if TYPE_CHECKING:  # what takes its time to import waits until the config is known to be right
    from config.schema import Config
    from config.yaml_reader import Document
    from utils.run_folder import RunFolder


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    return exit_code_of(run_command, parse_train_options, argv)


def run_command(options: argparse.Namespace) -> int:
    if options.list or options.describe:
        show_components(options)
        return 0
    if is_restarted() and not options.resume:  # torchrun --max-restarts
        options.resume = "auto"
    config, document, run = read_experiment(options)
    with joined(config.device, config.trainer.timeout.seconds):
        run = from_main(run)  # another may have found the folder that the main one has just made
        if run is None:
            return train(options, config, document)
        if is_main() and not options.leaves_no_run:
            run.acquire()
        try:
            return train(options, config, document, run)
        finally:
            run.unlock()


def train(options: argparse.Namespace, config: Config, document: Document, run: RunFolder | None = None) -> int:
    """Train, or show what would be trained. run: the folder of the run to go on with."""
    checkpoint = None
    if run is not None:
        from resuming import check_resumable, find_checkpoint, load_checkpoint

        if (checkpoint := find_checkpoint(run, options.resume)) is not None:
            check_resumable(run, checkpoint, config, document)
        run.claim()
    if options.print_config:
        from config.yaml_writer import write_annotated

        print(write_annotated(config.model_dump(), document.origins), end="")
        return 0

    from commands.trials import try_out
    from experiment import build_trainer, train_in_folder
    from trainer.rehearsal import rehearse, warm_up
    from utils.run_folder import check_save_dir

    with placing_mistakes(document.origins), telling_of_memory(lambda: "at the start", config.data_loader.batch_size):
        if run is None:
            check_save_dir(config.trainer.save_dir, config.name)
        trainer = build_trainer(config, checkpoint and checkpoint[1], depth=None if options.dry_run else 1)
        if checkpoint is None:
            rehearse(trainer)
        else:
            load_checkpoint(trainer, *checkpoint)
        warm_up(trainer)
        if options.leaves_no_run:
            print(try_out(trainer, config, options))
            return 0
    with trainer.stopping:
        return train_in_folder(run, trainer, config, checkpoint)


def show_components(options: argparse.Namespace) -> None:
    load_registries()
    from base.catalog import describe_component, list_components

    print(describe_component(options.describe) if options.describe else list_components(options.list))


def read_experiment(options: argparse.Namespace) -> tuple[Config, Document, RunFolder | None]:
    """The checked config, and the run folder to go on in, if any. ConfigError with all that is wrong, told."""
    from config.load import check_config, read_config
    from utils.find_run import resolve_run

    if options.config:
        document = read_config(options.config, options.overrides)
        config = check_config(document, load_registries, tell).for_processes(num_ranks())
        run = resolve_run(options.resume, config.trainer.save_dir, config.name) if options.resume else None
        return config, document, run

    run = resolve_run(options.resume)
    if (file := run.path / "config.yaml").exists():
        document = read_config([str(file)], options.overrides)
    else:
        from resuming import config_in_checkpoint

        document = config_in_checkpoint(run, options.resume, options.overrides)
    return check_config(document, load_registries, tell).for_processes(num_ranks()), document, run


if __name__ == "__main__":
    sys.exit(main())
