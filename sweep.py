"""Repeat an experiment over folds and seeds, or search for better settings: python sweep.py -c CONFIG --folds 5"""

from __future__ import annotations

import argparse
import sys

from config.command_options import parse_sweep_options
from script import exit_code_of


def main(argv: list[str] | None = None) -> int:
    """Do what the command line asks for; returns the exit code."""
    return exit_code_of(sweep, parse_sweep_options, argv)


def sweep(options: argparse.Namespace) -> int:
    """Do the runs that are left of the sweep, some at once, then tell what came of all."""
    from commands.sweep_jobs import work_at_once
    from commands.sweeping import open_sweep

    plan = open_sweep(options)
    plan.begin()
    options.jobs = min(options.jobs, plan.num_runs)
    code = work_at_once(options) if options.jobs > 1 else plan.work()
    return plan.conclude(code)


if __name__ == "__main__":
    sys.exit(main())
