"""The options of train.py and test.py. Imports nothing heavy: `--help` must answer at once."""

import argparse
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
}
_TRAIN_EXAMPLES = """\
examples:
  python train.py -c config/digits.yaml
  python train.py -c config/digits.yaml -c my_overlay.yaml --lr 3e-4 trainer.monitor='min val_loss'
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


class _Parser(argparse.ArgumentParser):
    """argparse with whole option names only, and a nearest name for a misspelt option."""

    def __init__(self, prog: str, description: str, epilog: str) -> None:
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.add_argument(
            "overrides",
            nargs="*",
            metavar="KEY=VALUE",
            help="set any key of the config by its dotted path, with YAML's typing: trainer.epochs=5",
        )

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """The options, with KEY=VALUE allowed before, between and after them."""
        options, unknown = self.parse_known_intermixed_args(argv)
        for text in unknown:
            if text.startswith("-"):
                self.error(f"unknown option {text}{did_you_mean(text.split('=')[0], self._option_string_actions)}")
        for text in [*options.overrides, *unknown]:
            if "=" not in text and text.split(" ")[0] not in SHORT_FORMS:
                self.error(f"{text!r} is not KEY=VALUE; {_likely_fix(text)}")
        return options

    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage, which would hide it. Exits with 2."""
        self.exit(2, f"{self.prog}: {message}\n({self.prog} --help shows all options)\n")


def train_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of train.py; `overrides` holds short forms (`--lr 0.1`) and KEY=VALUE as typed."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = _Parser("train.py", "Train a model as a config says.", _TRAIN_EXAMPLES)
    parser.add_argument(
        "-c",
        "--config",
        action="append",
        default=[],
        metavar="CONFIG",
        help="config file; may be given more than once: later files lie over earlier ones",
    )
    parser.add_argument(
        "-r",
        "--resume",
        metavar="RUN|CHECKPOINT|auto",
        help="go on in the same run folder; auto: the newest unfinished run of this name, else a new one",
    )
    for option, key in SHORT_FORMS.items():
        names = ("-d", option) if option == "--device" else (option,)
        value = option.lstrip("-").split("-")[-1].upper()
        # For --help only: _expand_short_forms leaves none of them to argparse.
        parser.add_argument(*names, default=argparse.SUPPRESS, metavar=value, help=f"short for {key}={value}")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="build everything, run one training and one evaluation batch, write nothing, print a summary",
    )
    parser.add_argument(
        "--print-config", action="store_true", help="print the resolved config with the origin of each value"
    )
    parser.add_argument("--list", nargs="?", const="all", metavar="KIND", help="the components that a config can name")
    parser.add_argument("--describe", metavar="KIND.NAME", help="a component's arguments and first docstring lines")
    options = parser.parse(_expand_short_forms(argv, parser))
    if not (options.config or options.resume or options.list or options.describe):
        parser.error("give a config, such as -c config/digits.yaml, or a run to resume with -r")
    if options.resume == "auto" and not options.config:
        parser.error("-r auto looks for a run of the config's name: give the config too, with -c")
    return options


def test_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of test.py."""
    parser = _Parser("test.py", "Evaluate a trained model from its checkpoint alone.", _TEST_EXAMPLES)
    parser.add_argument(
        "-r",
        "--resume",
        required=True,
        metavar="RUN|CHECKPOINT",
        help="a run folder (its best checkpoint is taken) or a checkpoint",
    )
    parser.add_argument(
        "--split", choices=("train", "valid", "test"), default="test", help="part of the data (default: test)"
    )
    parser.add_argument("--out", metavar="DIR", help="folder for the results (default: test/ in the run folder)")
    return parser.parse(argv)


test_options.__test__ = False  # so that pytest does not take it for a test where one imports it


def _expand_short_forms(argv: list[str], parser: _Parser) -> list[str]:
    """Each short form and its value as one text, `--lr 0.1`: a positional to argparse, as it has a space in it.

    So it stays in its place among the overrides, and the last one of two for the same key wins.
    """
    expanded, rest = [], iter(argv)
    for text in rest:
        if re.match("-d(?!-)", text):  # -d cpu, -dcpu, -d=cpu
            text = f"--device={text[2:].removeprefix('=')}" if len(text) > 2 else "--device"
        option, has_value, value = text.partition("=")
        if option in SHORT_FORMS:
            value = value if has_value else next(rest, "--")
            if not has_value and re.match(r"-(?!\.?[0-9])", value):  # -1 is a value
                parser.error(f"argument {option}: expected one argument")
            text = f"{option} {value}"
        expanded.append(text)
    return expanded


def _likely_fix(text: str) -> str:
    """What someone who typed this probably wanted."""
    if text.endswith((".yaml", ".yml")):
        return f"a config file is given with -c: -c {text}"
    if "/" in text or text.endswith(".pt"):
        return f"a run or checkpoint is given with -r: -r {text}"
    return f"write the key, '=' and the value without spaces between them: {text}=VALUE"
