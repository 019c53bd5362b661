"""The options of the scripts. Imports nothing heavy: `--help` must answer at once."""

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
_RUNS_EXAMPLES = """\
examples:
  python runs.py --sort best --filter name=digits
  python runs.py list --filter optimizer.args.lr=0.01 --json
  python runs.py diff digits/20261129-101500 saved/digits/latest
  python runs.py plot digits/20261129-101500 digits/20261129-113000 -o curves.png
  python runs.py clean --filter name=digits
"""
_PREDICT_EXAMPLES = """\
examples:
  python predict.py -r saved/digits/latest a.png more/*.png folder
  python predict.py -r houses.pt new.csv --out prices.csv
  find . -name '*.jpg' | python predict.py -r saved/image_folder/latest - --top 3 --format jsonl
"""
_EXPORT_EXAMPLES = """\
examples:
  python export.py -r saved/digits/latest --format onnx --with-preprocessing
  python export.py -r saved/digits/latest/checkpoints/last.pt --format pt2 --out digits.pt2
  python export.py -r saved/digits/latest --format plain      the weights alone, for trainer.init_from
"""
_SWEEP_EXAMPLES = """\
examples:
  python sweep.py -c config/csv_binary.yaml --folds 5 --jobs 2
  python sweep.py -c config/digits.yaml --seeds 5 trainer.epochs=10
  python sweep.py -c config/digits.yaml --trials 50 "optimizer.args.lr=log(1e-4, 1e-1)" "model.args.dropout=[0, 0.2]"
The same command again goes on with a sweep that was stopped; given twice at once, two processes share it.
"""


class _Parser(argparse.ArgumentParser):
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
            hint = did_you_mean(unknown[0].split("=")[0], self._option_string_actions)
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
                self.error(f"{text!r} is not KEY=VALUE; {_likely_fix(text)}")
        return options

    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage, which would hide it. Exits with 2."""
        self.exit(2, f"{self.prog}: {message}\n({self.prog} --help shows all options)\n")


def _given(text: str) -> str:
    """The value of an option, which is never empty; a path below the home folder is written out."""
    if not text.strip():
        raise argparse.ArgumentTypeError("found nothing; is a variable of the shell unset?")
    return os.path.expanduser(text)


def parse_train_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of train.py; `overrides` holds short forms (`--lr 0.1`) and KEY=VALUE as typed."""
    parser = _Parser(prog="train.py", description="Train a model as a config says.", epilog=_TRAIN_EXAMPLES)
    add = parser.add_argument
    config_help = "config file; of several, the later lie over the earlier"
    add("-c", "--config", action="append", default=[], type=_given, help=config_help)
    resume_help = "go on in the same run folder; auto: the newest unfinished run of this name, else a new one"
    add("-r", "--resume", type=_given, metavar="RUN|CHECKPOINT|auto", help=resume_help)
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
    add("--list", nargs="?", const="all", type=_given, metavar="KIND", help=list_help)
    add("--describe", type=_given, metavar="KIND.NAME", help="a component's arguments and first docstring lines")
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
    parser = _Parser(prog="test.py", description=about, epilog=_TEST_EXAMPLES)
    run_help = "a run folder (its best checkpoint is taken) or a checkpoint"
    parser.add_argument("-r", "--resume", required=True, type=_given, metavar="RUN|CHECKPOINT", help=run_help)
    splits = ("train", "valid", "test")
    parser.add_argument("--split", choices=splits, default="test", help="part of the data (default: test)")
    out_help = "folder for the results (default: test/ in the run folder)"
    parser.add_argument("--out", type=_given, metavar="DIR", help=out_help)
    report_help = "write metrics.json and predictions.csv alone: no page, no pictures"
    parser.add_argument("--no-report", action="store_true", help=report_help)
    return parser.parse(argv)


# What each command of runs.py takes, besides --save-dir and --filter; the first is how many runs.
_RUNS_COMMANDS = {
    "list": (range(1), ("sort", "json")),
    "diff": (range(2, 3), ("out",)),
    "plot": (range(100), ("out",)),
    "clean": (range(1), ("yes",)),
}


def parse_runs_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of runs.py; `filters` holds pairs of a key and a value."""
    about = "Look at runs: list them, compare them, draw their curves over each other, or free their disk space."
    parser = _Parser(None, prog="runs.py", description=about, epilog=_RUNS_EXAMPLES)
    add = parser.add_argument
    add("command", nargs="?", choices=_RUNS_COMMANDS, default="list", help="what to do (default: list)")
    add("runs", nargs="*", type=_given, metavar="RUN", help="a folder, or a name; plot without any: all of the list")
    filter_help = "only runs with this name, id, status or value in their config; may be given more than once"
    add("--filter", action="append", default=[], type=_given, metavar="KEY=VALUE", dest="filters", help=filter_help)
    add("--sort", type=_given, metavar="COLUMN", help="name, status, epochs, best, time or a key of the config")
    add("--json", action="store_true", help="list: as JSON, for programs")
    add("-o", "--out", type=_given, metavar="FILE", help="plot, diff: the picture to write")
    add("--yes", action="store_true", help="clean: delete without asking")
    add("--save-dir", type=_given, metavar="DIR", default="saved", help="where the run folders are (default: saved)")
    options = parser.parse(sys.argv[1:] if argv is None else argv)
    numbers, takes = _RUNS_COMMANDS[options.command]
    if len(options.runs) not in numbers:
        parser.error(f"{options.command} takes {'two runs' if numbers == range(2, 3) else 'no runs; see --filter'}")
    for name in ("sort", "json", "out", "yes"):
        if getattr(options, name) and name not in takes:
            parser.error(f"--{name} changes nothing in {options.command}")
    if options.command == "diff" and options.filters:
        parser.error("--filter changes nothing in diff")
    if options.command == "plot" and not options.out:
        parser.error("plot needs the picture to write: -o FILE")
    for text in options.filters:
        if "=" not in text:
            parser.error(f"--filter {text!r} is not KEY=VALUE")
    options.filters = [tuple(text.split("=", 1)) for text in options.filters]
    return options


def parse_predict_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of predict.py; `inputs` holds what is no KEY=VALUE."""
    about = (
        "Predict for inputs without targets, from a checkpoint alone. INPUT: files, folders, patterns such as '*.png', "
        "and '-' for standard input."
    )
    parser = _Parser("INPUT|KEY=VALUE", prog="predict.py", description=about, epilog=_PREDICT_EXAMPLES)
    add = parser.add_argument
    run_help = "a run folder (its best checkpoint is taken) or a checkpoint"
    add("-r", "--resume", required=True, type=_given, metavar="RUN|CHECKPOINT", help=run_help)
    add("--out", type=_given, metavar="FILE", help="where the rows go (default: standard output)")
    add("--format", choices=("csv", "jsonl"), default="csv", help="a table, or a JSON object on each line")
    add("--top", type=_count, default=1, metavar="K", help="the K best classes of each input, with their scores")
    resize_help = "pictures of another size than the training's, where these had one size; else they are refused"
    add("--resize", choices=("stretch", "crop", "pad"), help=resize_help)
    add("--prompt", metavar="TEXT", help="in place of inputs, for a language model: what it is to go on with")
    add("--length", type=_count, metavar="N", help="with --prompt: how many tokens to add (default: 500)")
    temperature_help = "with --prompt: divides the logits; 0 takes the most probable token (default: 1)"
    add("--temperature", type=_at_least_0, metavar="T", help=temperature_help)
    add("--top-k", type=_count, metavar="K", help="with --prompt: draw from the K most probable tokens (default: all)")
    add("--seed", type=int, metavar="S", help="with --prompt: another seed, another text (default: 0)")
    options = parser.parse(argv if argv is not None else sys.argv[1:], takes_inputs=True)
    sampling = {"length": 500, "temperature": 1.0, "top_k": None, "seed": 0}
    if options.prompt is None:
        if not options.inputs:
            parser.error("give inputs: files, folders, or - for standard input; or a language model its --prompt")
        unused = [name for name in sampling if getattr(options, name) is not None]
    else:
        unused = [name for name, default in _FOR_INPUTS.items() if getattr(options, name) != default]
        vars(options).update({name: value for name, value in sampling.items() if getattr(options, name) is None})
    if unused:
        option = "inputs" if unused[0] == "inputs" else f"--{unused[0].replace('_', '-')}"
        parser.error(f"{option}: {'not together with' if options.prompt is not None else 'needs'} --prompt")
    return options


_FOR_INPUTS = {"inputs": [], "format": "csv", "top": 1, "resize": None}


def _at_least_0(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]*)?|\.[0-9]+", text):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a number of at least 0")
    return float(text)


_RANGE = re.compile(r"[^=]+=(log|uniform|int)\(.*\)")


def parse_sweep_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of sweep.py; `space` holds KEY=RANGE as typed, `trials` their number or None."""
    about = "Repeat an experiment over folds and seeds, or search for better settings; docs/sweeps.md."
    parser = _Parser(prog="sweep.py", description=about, epilog=_SWEEP_EXAMPLES)
    add = parser.add_argument
    config_help = "config file; of several, the later lie over the earlier"
    add("-c", "--config", action="append", required=True, type=_given, help=config_help)
    add("--folds", type=_count, metavar="K", help="a run for each of K folds, which then is its test part")
    add("--seeds", type=_count, metavar="K", help="a run for each of K seeds, from the config's on")
    trials_help = (
        "search with Optuna; KEY=log(LOW, HIGH), uniform(LOW, HIGH), int(LOW, HIGH) or a list of choices, such as "
        "model.args.hidden=[64, 128]"
    )
    add("--trials", nargs="+", type=_given, metavar=("N", "KEY=RANGE"), help=trials_help)
    add(
        "--space",
        dest="space_file",
        type=_given,
        metavar="FILE",
        help="a YAML file of such ranges: a line KEY: RANGE for each",
    )
    add("--jobs", type=_count, default=1, metavar="N", help="so many runs at once, which share the cores (default: 1)")
    options = parser.parse(sys.argv[1:] if argv is None else argv)
    number, *given = options.trials or [None]
    try:
        options.trials = number and _count(number)
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument --trials: {error}, before the ranges")
    for text in given:
        if "=" not in text:
            parser.error(f"{text!r} is not KEY=RANGE; {_likely_fix(text)}")
    is_range = re.compile(r"[^=]+=\s*(\w+\s*\(.*\)|\[.*)\s*", re.DOTALL)
    options.space = [text for text in given if is_range.fullmatch(text)]
    values = [*options.overrides, *(text for text in given if text not in options.space)]
    options.space += [text for text in values if _RANGE.fullmatch(text)]  # whose place says nothing, unlike a list's
    options.overrides = [text for text in values if text not in options.space]
    _check_sweep(parser, options)
    return options


def _check_sweep(parser: _Parser, options: argparse.Namespace) -> None:
    if options.trials is None and not (options.folds or options.seeds):
        parser.error("give --folds K, --seeds K or --trials N: how often, and for what, is the experiment to be run?")
    if options.trials is not None and (options.folds or options.seeds):
        parser.error("--trials is done alone: search first, then repeat what was found, with -c .../sweep/best.yaml")
    if options.trials is None and options.space_file:
        parser.error("--space changes nothing without --trials N")
    if options.trials is not None and not (options.space or options.space_file):
        parser.error("--trials N needs a range for each key to search, such as 'optimizer.args.lr=log(1e-4, 1e-1)'")
    for name in ("folds", "seeds"):
        if getattr(options, name) == 1:
            parser.error(f"argument --{name}: found 1; expected at least 2: of one there is no spread")
    if options.trials is None and options.space:
        parser.error(f"{options.space[0]!r} is a range; ranges are searched with --trials N")


def _count(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,5}", text):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a whole number of at least 1")
    return int(text)


def parse_export_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of export.py."""
    about = "Write a trained model as a file for other programs, and compare it with the original."
    parser = _Parser(prog="export.py", description=about, epilog=_EXPORT_EXAMPLES)
    add = parser.add_argument
    run_help = "a run folder (its best checkpoint is taken) or a checkpoint"
    add("-r", "--resume", required=True, type=_given, metavar="RUN|CHECKPOINT", help=run_help)
    format_help = "onnx; pt2, of torch.export; plain, the weights alone"
    add("--format", required=True, type=_export_format, metavar="onnx|pt2|plain", help=format_help)
    with_help = "the file takes what the loader gives, uint8 pictures say: evaluation's batch transforms are in it"
    add("--with-preprocessing", action="store_true", help=with_help)
    add("--out", type=_given, metavar="FILE", help="the file to write (default: model.FORMAT in the run folder)")
    options = parser.parse(argv)
    if options.format == "plain" and options.with_preprocessing:
        parser.error("--with-preprocessing: plain weights do nothing to their inputs; use --format onnx or pt2")
    for text in options.overrides:
        part = text.split("=")[0].split(".")[0]
        if options.format == "plain" or part not in ("dataset", "model"):
            taken = "nothing" if options.format == "plain" else "dataset.* and model.*"
            parser.error(f"{text!r} would change nothing in the file; export.py takes {taken}")
    return options


def _export_format(text: str) -> str:
    if text.lower() in ("torchscript", "jit", "ts"):
        reason = "TorchScript is deprecated: torch develops it no more, and has torch.export in its place"
        raise argparse.ArgumentTypeError(f"{reason}; use pt2, or onnx for programs without torch")
    if text not in ("onnx", "pt2", "plain"):
        hint = did_you_mean(text, ("onnx", "pt2", "plain"))
        raise argparse.ArgumentTypeError(f"found {text!r}; expected onnx, pt2 or plain{hint}")
    return text


def _join_short_forms(argv: Sequence[str], parser: _Parser) -> list[str]:
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


def _likely_fix(text: str) -> str:
    """What someone who typed this probably wanted."""
    if text.endswith((".yaml", ".yml")):
        return f"a config file is given with -c: -c {text}"
    if "/" in text or text.endswith(".pt"):
        return f"a run or checkpoint is given with -r: -r {text}"
    return f"write the key, '=' and the value without spaces between them: {text}=VALUE"
