"""The options of runs.py, predict.py, sweep.py and export.py. Imports nothing heavy: `--help` must answer at once."""

import argparse
import math
import re
import sys
from collections.abc import Sequence

from .command_line import Parser, likely_fix, nonempty
from .problems import did_you_mean

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
  python predict.py -r saved/mnist_gan/latest --sample 64 --out digits.png
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
    parser = Parser(None, prog="runs.py", description=about, epilog=_RUNS_EXAMPLES)
    add = parser.add_argument
    add("command", nargs="?", choices=_RUNS_COMMANDS, default="list", help="what to do (default: list)")
    add("runs", nargs="*", type=nonempty, metavar="RUN", help="a folder, or a name; plot without any: all of the list")
    filter_help = "only runs with this name, id, status or value in their config; may be given more than once"
    add("--filter", action="append", default=[], type=nonempty, metavar="KEY=VALUE", dest="filters", help=filter_help)
    add("--sort", type=nonempty, metavar="COLUMN", help="name, status, epochs, best, time or a key of the config")
    add("--json", action="store_true", help="list: as JSON, for programs")
    add("-o", "--out", type=nonempty, metavar="FILE", help="plot, diff: the picture to write")
    add("--yes", action="store_true", help="clean: delete without asking")
    add("--save-dir", type=nonempty, metavar="DIR", default="saved", help="where the run folders are (default: saved)")
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
    parser = Parser("INPUT|KEY=VALUE", prog="predict.py", description=about, epilog=_PREDICT_EXAMPLES)
    add = parser.add_argument
    run_help = "a run folder (its best checkpoint is taken) or a checkpoint"
    add("-r", "--resume", required=True, type=nonempty, metavar="RUN|CHECKPOINT", help=run_help)
    add("--out", type=nonempty, metavar="FILE", help="where the rows go (default: standard output)")
    add("--format", choices=("csv", "jsonl"), default="csv", help="a table, or a JSON object on each line")
    add("--top", type=_count, default=1, metavar="K", help="the K best classes of each input, with their scores")
    resize_help = "pictures of another size than the training's, where these had one size; else they are refused"
    add("--resize", choices=("stretch", "crop", "pad"), help=resize_help)
    add("--prompt", metavar="TEXT", help="in place of inputs, for a language model: what it is to go on with")
    add("--length", type=_count, metavar="N", help="with --prompt: how many tokens to add (default: 500)")
    temperature_help = "with --prompt: divides the logits; 0 takes the most probable token (default: 1)"
    add("--temperature", type=_at_least_0, metavar="T", help=temperature_help)
    add("--top-k", type=_count, metavar="K", help="with --prompt: draw from the K most probable tokens (default: all)")
    sample_help = "in place of inputs, for a model that makes pictures: N new ones, as --out FILE.png"
    add("--sample", type=_count, metavar="N", help=sample_help)
    add("--seed", type=int, metavar="S", help="with --prompt or --sample: another seed makes others (default: 0)")
    options = parser.parse(argv if argv is not None else sys.argv[1:], takes_inputs=True)
    _check_what_is_made(parser, options)
    return options


# What predict.py makes in place of answers, with the options of each and their defaults; and those of answers.
_MADE = {"prompt": {"length": 500, "temperature": 1.0, "top_k": None, "seed": 0}, "sample": {"seed": 0}}
_FOR_INPUTS = {"inputs": [], "format": "csv", "top": 1, "resize": None}


def _check_what_is_made(parser: Parser, options: argparse.Namespace) -> None:
    """Refuse options that do not go together; those that are left out get their defaults."""
    asked = [name for name in _MADE if getattr(options, name) is not None]
    if not asked and not options.inputs:
        parser.error("give inputs: files, folders, or - for standard input; or a language model its --prompt")
    own = _MADE[asked[0]] if asked else {}
    for name in _MADE["prompt"]:
        if name not in own and getattr(options, name) is not None:
            makers = " or ".join(f"--{making}" for making, of in _MADE.items() if name in of)
            parser.error(f"--{name.replace('_', '-')}: needs {makers}")
    beside = [name for name, default in _FOR_INPUTS.items() if asked and getattr(options, name) != default]
    if beside or len(asked) > 1:
        other = "--sample" if len(asked) > 1 else "inputs" if beside[0] == "inputs" else f"--{beside[0]}"
        parser.error(f"{other}: not together with --{asked[0]}")
    if options.sample is not None and not (options.out or "").lower().endswith(".png"):
        parser.error("--sample: needs --out FILE.png")
    vars(options).update({name: value for name, value in own.items() if getattr(options, name) is None})


def _at_least_0(text: str) -> float:
    is_number = re.fullmatch(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", text)
    if not is_number or not math.isfinite(float(text)):
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a number of at least 0")
    return float(text)


_RANGE = re.compile(r"[^=]+=(log|uniform|int)\(.*\)")


def parse_sweep_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of sweep.py; `space` holds KEY=RANGE as typed, `trials` their number or None."""
    about = "Repeat an experiment over folds and seeds, or search for better settings; docs/sweeps.md."
    parser = Parser(prog="sweep.py", description=about, epilog=_SWEEP_EXAMPLES)
    add = parser.add_argument
    config_help = "config file; of several, the later lie over the earlier"
    add("-c", "--config", action="append", required=True, type=nonempty, help=config_help)
    add("--folds", type=_count, metavar="K", help="a run for each of K folds, which then is its test part")
    add("--seeds", type=_count, metavar="K", help="a run for each of K seeds, from the config's on")
    trials_help = (
        "search with Optuna; KEY=log(LOW, HIGH), uniform(LOW, HIGH), int(LOW, HIGH) or a list of choices, such as "
        "model.args.hidden=[64, 128]"
    )
    add("--trials", nargs="+", type=nonempty, metavar=("N", "KEY=RANGE"), help=trials_help)
    add(
        "--space",
        dest="space_file",
        type=nonempty,
        metavar="FILE",
        help="a YAML file of such ranges: a line KEY: RANGE for each",
    )
    add("--jobs", type=_count, default=1, metavar="N", help="so many runs at once, which share the cores (default: 1)")
    options = parser.parse(sys.argv[1:] if argv is None else argv)
    number, *texts = options.trials or [None]
    try:
        options.trials = number and _count(number)
    except argparse.ArgumentTypeError as error:
        parser.error(f"argument --trials: {error}, before the ranges")
    for text in texts:
        if "=" not in text:
            parser.error(f"{text!r} is not KEY=RANGE; {likely_fix(text)}")
    is_range = re.compile(r"[^=]+=\s*(\w+\s*\(.*\)|\[.*)\s*", re.DOTALL)
    options.space = [text for text in texts if is_range.fullmatch(text)]
    values = [*options.overrides, *(text for text in texts if text not in options.space)]
    options.space += [text for text in values if _RANGE.fullmatch(text)]  # whose place says nothing, unlike a list's
    options.overrides = [text for text in values if text not in options.space]
    _check_sweep(parser, options)
    return options


def _check_sweep(parser: Parser, options: argparse.Namespace) -> None:
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
        raise argparse.ArgumentTypeError(f"found {text!r}; expected a whole number from 1 to 999,999")
    return int(text)


def parse_export_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of export.py."""
    about = "Write a trained model as a file for other programs, and compare it with the original."
    parser = Parser(prog="export.py", description=about, epilog=_EXPORT_EXAMPLES)
    add = parser.add_argument
    run_help = "a run folder (its best checkpoint is taken) or a checkpoint"
    add("-r", "--resume", required=True, type=nonempty, metavar="RUN|CHECKPOINT", help=run_help)
    format_help = "onnx; pt2, of torch.export; plain, the weights alone"
    add("--format", required=True, type=_export_format, metavar="onnx|pt2|plain", help=format_help)
    with_help = "the file takes what the loader gives, uint8 pictures say: evaluation's batch transforms are in it"
    add("--with-preprocessing", action="store_true", help=with_help)
    add("--out", type=nonempty, metavar="FILE", help="the file to write (default: model.FORMAT in the run folder)")
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
