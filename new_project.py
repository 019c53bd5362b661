"""Begin a project of one's own: python new_project.py ../my_project --task classification"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from script import exit_code_of

TASKS = {
    "classification": "pictures and classes, a small convolutional network",
    "regression": "numbers from numbers, a small network",
    "tables": "a CSV, Excel or Parquet file, a small network",
    "custom": "data, model, loss and training step of your own",
}
_EXAMPLES = """\
examples:
  python new_project.py ../my_project --task tables
  python new_project.py ../my_project --update       after the template has changed: shows what it would do, and asks
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    return exit_code_of(run, parse_options, argv)


def parse_options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="new_project.py",
        description="A copy of the template with a config, a dataset and a model of your own; or a newer template's "
        "machinery for one.",
        epilog=_EXAMPLES,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the project is made; it must not be there yet, or be empty")
    tasks = "; ".join(f"{task}: {about}" for task, about in TASKS.items())
    parser.add_argument("--task", choices=TASKS, default=None, help=f"{tasks} (default: classification)")
    parser.add_argument("--update", action="store_true", help="bring this template's machinery into a project made so")
    parser.add_argument("--yes", action="store_true", help="with --update: do it without asking")
    options = parser.parse_args(argv)
    if options.update and options.task:
        parser.error("--update keeps the project's own task: leave out --task")
    if options.yes and not options.update:
        parser.error("--yes goes with --update")
    return options


def run(options: argparse.Namespace) -> int:
    from starters.project import create, update

    template, folder = Path(__file__).resolve().parent, options.folder.expanduser().resolve()
    if options.update:
        return update(template, folder, is_yes=options.yes)
    create(template, folder, options.task or "classification")
    return 0


if __name__ == "__main__":
    sys.exit(main())
