"""The options of train.py and test.py, and what those of all scripts have in common.

Imports nothing heavy: `--help` must answer at once.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

from .problems import did_you_mean

# Short forms of the keys people change most.
SHORT_FORMS = {
    "--lr": "optimizer.args.lr",
    "--batch-size": "data_loader.batch_size",
    "--epochs": "trainer.epochs",
    "--seed": "seed",
    "--name": "name",
    "--device": "device",
    "--overfit": "data_loader.overfit_batches",
    "--limit-batches": "data_loader.limit_batches",
}
_TRAIN_EXAMPLES = """\
examples:
  python train.py -c config/digits.yaml
  python train.py -c config/digits_linear.yaml -c my_overlay.yaml --lr 0.03 trainer.monitor='min val_loss'
  python train.py -c config/digits.yaml optimizer='{type: SGD, args: {lr: 0.1}}' --print-config
  python train.py -r saved/digits/latest --epochs 40      go on with a run, for longer than planned
  python train.py -c config/digits.yaml -r auto           go on with the newest unfinished run, else start
  python train.py --list model;  python train.py --describe optimizer.AdamW
"""
_TEST_EXAMPLES = """\
examples:
  python test.py -r saved/digits/latest
  python test.py -r saved/digits/latest --split valid --out results data_loader.batch_size=256
  python test.py -r saved/digits/latest/checkpoints/last.pt device=cpu
"""


class Parser(argparse.ArgumentParser):
    """argparse with whole option names only, and a nearest name for a misspelt option."""

    def __init__(self, others: str | None = "KEY=VALUE", **about: str) -> None:
        super().__init__(**about, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
        self.takes_overrides = others is not None
        if not self.takes_overrides:
            return
        override_help = "set any key of the config by its dotted path, with YAML's typing: trainer.epochs=5"
        self.add_argument("overrides", nargs="*", metavar=others, help=override_help)

    def parse(self, argv: Sequence[str], takes_inputs: bool = False) -> argparse.Namespace:
        """The options, with KEY=VALUE allowed before, between and after them. takes_inputs: others are `inputs`."""
        options, unknown = self.parse_known_intermixed_args(argv)
        if unknown:  # the first that argparse has no place for is an option
            option = unknown[0].split("=")[0]
            hint = did_you_mean(option, self._option_string_actions)
            if self.takes_overrides and option in SHORT_FORMS:
                hint = f"; write {SHORT_FORMS[option]}=VALUE"
            self.error(f"unknown option {unknown[0]}{hint}")
        if takes_inputs:  # `x=1.png` is one where there is such a file
            is_override = [
                re.match(r"[A-Za-z_]\w*(\.\w+)*=", text) and not os.path.exists(text) for text in options.overrides
            ]
            given = [*zip(options.overrides, is_override, strict=True)]
            options.inputs = [os.path.expanduser(text) for text, is_so in given if not is_so]
            options.overrides = [text for text, is_so in given if is_so]
        for text in options.overrides if self.takes_overrides else ():
            if "=" not in text and text.split(" ")[0] not in SHORT_FORMS:
                self.error(f"{text!r} is not KEY=VALUE; {likely_fix(text)}")
        return options

    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage, which would hide it. Exits with 2."""
        self.exit(2, f"{self.prog}: {message}\n({self.prog} --help shows all options)\n")


def nonempty(text: str) -> str:
    """The value of an option, which is never empty; a path below the home folder is written out."""
    if not text.strip():
        raise argparse.ArgumentTypeError("found nothing; is a variable of the shell unset?")
    return os.path.expanduser(text)


def parse_train_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of train.py; `overrides` holds short forms (`--lr 0.1`) and KEY=VALUE as typed."""
    parser = Parser(prog="train.py", description="Train a model as a config says.", epilog=_TRAIN_EXAMPLES)
    add = parser.add_argument
    config_help = "config file; of several, the later lie over the earlier"
    add("-c", "--config", action="append", default=[], type=nonempty, help=config_help)
    resume_help = "go on in the same run folder; auto: the newest unfinished run of this name, else a new one"
    add("-r", "--resume", type=nonempty, metavar="RUN|CHECKPOINT|auto", help=resume_help)
    for option, key in SHORT_FORMS.items():
        names = ("-d", option) if option == "--device" else (option,)
        # For --help only: _join_short_forms leaves none of them to argparse.
        add(*names, default=argparse.SUPPRESS, metavar="VALUE", help=f"short for {key}=VALUE")
    add("--dry-run", action="store_true", help="run one training and one evaluation batch; write nothing but a summary")
    find_help = "try learning rates from very small to far too large; draws the loss, writes nothing else"
    add("--find-lr", action="store_true", help=find_help)
    profile_help = "say where the time of the first steps goes, with a trace of torch.profiler; leaves no run"
    add("--profile", action="store_true", help=profile_help)
    add("--print-config", action="store_true", help="print the resolved config with the origin of each value")
    list_help = "the components that a config can name"
    add("--list", nargs="?", const="all", type=nonempty, metavar="KIND", help=list_help)
    add("--describe", type=nonempty, metavar="KIND.NAME", help="a component's arguments and first docstring lines")
    options = parser.parse(_join_short_forms(sys.argv[1:] if argv is None else argv, parser))
    if not (options.config or options.resume or options.list or options.describe):
        parser.error("give a config, such as -c config/digits.yaml, or a run to resume with -r")
    if options.resume == "auto" and not options.config:
        parser.error("-r auto looks for a run of the config's name: give the config too, with -c")
    if options.dry_run + options.find_lr + options.profile > 1:
        parser.error("--dry-run, --find-lr and --profile are done one at a time")
    options.leaves_no_run = options.dry_run or options.print_config or options.find_lr or options.profile
    return options


def parse_test_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of test.py."""
    about = "Evaluate a trained model from its checkpoint alone."
    parser = Parser(prog="test.py", description=about, epilog=_TEST_EXAMPLES)
    run_help = "a run folder (its best checkpoint is taken) or a checkpoint"
    parser.add_argument("-r", "--resume", required=True, type=nonempty, metavar="RUN|CHECKPOINT", help=run_help)
    splits = ("train", "valid", "test")
    parser.add_argument("--split", choices=splits, default="test", help="part of the data (default: test)")
    out_help = "folder for the results (default: test/ in the run folder)"
    parser.add_argument("--out", type=nonempty, metavar="DIR", help=out_help)
    report_help = "write metrics.json and predictions.csv alone: no page, no pictures"
    parser.add_argument("--no-report", action="store_true", help=report_help)
    return parser.parse(argv)


def _join_short_forms(argv: Sequence[str], parser: Parser) -> list[str]:
    """Each short form and its value as one text, `--lr 0.1`: a positional to argparse, as it has a space in it.

    So it stays in its place among the overrides, and the last one of two for the same key wins.
    """
    joined, rest = [], iter(argv)
    for text in rest:
        if text.startswith("-d"):  # -d cpu, -dcpu, -d=cpu
            text = f"--device={text[2:].removeprefix('=')}" if len(text) > 2 else "--device"
        option, has_value, value = text.partition("=")
        if option in SHORT_FORMS:
            value = value if has_value else next(rest, "--")
            if not has_value and re.match(r"-(?![.0-9])", value):  # -1 and -.inf are values
                parser.error(f"argument {option}: expected one argument")
            if not value.strip():
                parser.error(f"argument {option}: found nothing; is a variable of the shell unset?")
            text = f"{option} {value}"
        joined.append(text)
    return joined


def likely_fix(text: str) -> str:
    """What someone who typed this probably wanted."""
    if text.endswith((".yaml", ".yml")):
        return f"a config file is given with -c: -c {text}"
    if "/" in text or text.endswith(".pt"):
        return f"a run or checkpoint is given with -r: -r {text}"
    return f"write the key, '=' and the value without spaces between them: {text}=VALUE"
