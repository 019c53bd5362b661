"""What train.py does instead of a run: --dry-run, --find-lr, --profile."""

from __future__ import annotations

import argparse

from base.base_trainer import BaseTrainer
from config.schema import Config


def try_out(trainer: BaseTrainer, config: Config, options: argparse.Namespace) -> str:
    """Try what the options ask for, on a trainer that is ready; returns what to tell."""
    if options.find_lr:
        from commands.lr_range import find_lr

        return find_lr(trainer, config)
    if options.profile:
        from commands.profiling import profile

        return profile(trainer, config)
    from trainer.rehearsal import dry_run

    return dry_run(trainer)
