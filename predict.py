"""Ask a trained model: python predict.py -r saved/digits/latest a.png folder/. From Python: load_model."""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import TYPE_CHECKING

from config.command_options import parse_predict_options
from script import exit_code_of, tell

if TYPE_CHECKING:  # what takes its time to import waits until the options are known to be right
    from commands.predicting import TrainedModel


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    return exit_code_of(predict, parse_predict_options, argv)


def predict(options: argparse.Namespace) -> int:
    """Rebuild a model from its checkpoint, and write a row for each input, how it goes on with a text, or pictures."""
    from commands.generating import write_text
    from commands.predicting import TrainedModel
    from commands.sampling import write_pictures
    from trained import Trained
    from utils.distributed import joined
    from utils.find_run import resolve_checkpoint

    trained = Trained.read(resolve_checkpoint(options.resume, prefer="best"), options.overrides, script="predict.py")
    with joined(trained.config.device, trained.config.trainer.timeout.seconds):
        if options.prompt is not None:
            write_text(trained, options)
        elif options.sample is not None:
            write_pictures(trained, options)
        else:
            return answer_inputs(TrainedModel(trained), options)
        return 0


def answer_inputs(model: TrainedModel, options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from commands.answer_table import AnswerTable, Destination
    from data_loader.inputs import given
    from utils.distributed import is_main

    destination, batch_size = Destination(options.out), model.trained.config.data_loader.batch_size
    has_bar = sys.stderr.isatty() and (options.out is not None or not sys.stdout.isatty())  # rows would run into it
    with given(options.inputs, model.component, batch_size) as blocks:
        several = (model.inputs(block, options.resize) for block in blocks)
        first = next(several)  # what is wrong with it is told before anything is written
        total = None if "-" in options.inputs else len(first.dataset)
        with destination as file, tqdm(total=total, unit=" inputs", leave=False, disable=not has_bar) as bar:
            table = AnswerTable(file, options.format, options.top, model)
            for inputs in itertools.chain([first], several):
                model.answer(inputs, lambda answered, inputs=inputs: bar.update(table.take(answered, inputs)))
            table.end()
    if table.num_errors:
        tell(f"{table.num_errors:,} of {table.num_rows:,} inputs could not be read: see the column `error`")
    return int(table.num_errors > 0 and is_main())  # torchrun would end the main process where another has failed


def load_model(run: str, device: str = "auto", batch_size: int | None = None) -> TrainedModel:
    """The model of a run or a checkpoint, to be asked by its `predict(inputs)`; see predicting.load_model."""
    from commands.predicting import load_model

    return load_model(run, device, batch_size)


if __name__ == "__main__":
    sys.exit(main())
