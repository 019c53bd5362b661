"""Write a trained model as a file for other programs: python export.py -r saved/digits/latest --format onnx"""

from __future__ import annotations

import argparse
import sys

from config.command_options import parse_export_options
from script import exit_code_of


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    return exit_code_of(export, parse_export_options, argv)


def export(options: argparse.Namespace) -> int:
    """Write the file, load it again, compare it with the original, and say what it takes."""
    from commands.exported_file import check_packages, file_for, write_program, write_weights
    from utils.find_run import resolve_checkpoint

    check_packages(options.format)
    path = resolve_checkpoint(options.resume, prefer="best")
    file = file_for(path, options.format, options.out)
    if options.format == "plain":
        print(write_weights(path, file))
        return 0
    from commands.exporting import Program
    from trained import Trained

    trained = Trained.read(path, options.overrides, script="export.py")
    says_where = any(override.startswith("dataset") for override in options.overrides)
    program = Program.of(trained, options.with_preprocessing, data_are_asked_for=says_where)
    print(write_program(program, file, options.format))
    return 0


if __name__ == "__main__":
    sys.exit(main())
