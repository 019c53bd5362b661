"""Ask a trained model: python predict.py -r saved/digits/latest a.png folder/. From Python: load_model."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from config.command_line import parse_predict_options
from script import exit_code_of, tell

if TYPE_CHECKING:  # what takes its time to import waits until the options are known to be right
    from commands.predicting import TrainedModel


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    return exit_code_of(predict, parse_predict_options, argv)


def predict(options: argparse.Namespace) -> int:
    """Rebuild a model from its checkpoint, and write a row for each input."""
    from commands.predicting import TrainedModel
    from trained import Trained
    from utils.distributed import joined
    from utils.find_run import resolve_checkpoint

    trained = Trained.read(resolve_checkpoint(options.resume, prefer="best"), options.overrides, script="predict.py")
    with joined(trained.config.device, trained.config.trainer.timeout.seconds):
        return answer_inputs(TrainedModel(trained), options)


def answer_inputs(model: TrainedModel, options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from commands.answer_table import AnswerTable, Destination
    from data_loader.inputs import given
    from utils.distributed import is_main

    destination = Destination(options.out)
    with given(options.inputs, model.component) as expanded:
        inputs = model.inputs(expanded, options.resize)
    num_inputs = len(inputs.dataset)
    has_bar = sys.stderr.isatty() and (options.out is not None or not sys.stdout.isatty())  # rows would run into it
    with destination as file, tqdm(total=num_inputs, unit=" inputs", leave=False, disable=not has_bar) as bar:
        table = AnswerTable(file, options.format, options.top, model, inputs)
        model.answer(inputs, lambda answered: bar.update(table.take(answered)))
        table.end()
    if table.num_errors:
        tell(f"{table.num_errors:,} of {num_inputs:,} inputs could not be read: see the column `error`")
    return int(table.num_errors > 0 and is_main())  # torchrun would end the main process where another has failed


def load_model(run: str, device: str = "auto", batch_size: int | None = None) -> TrainedModel:
    """The model of a run or a checkpoint, to be asked by its `predict(inputs)`; see predicting.load_model."""
    from commands.predicting import load_model

    return load_model(run, device, batch_size)


if __name__ == "__main__":
    sys.exit(main())
