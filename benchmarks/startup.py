"""How long one waits for an answer: for --help, for the word that a key is misspelt, for the first training step."""

import subprocess
import sys
import time
from functools import partial
from statistics import median

from benchmarks.harness import Result, Row, difference, interleaved, timed

DIGITS = ("train.py", "-c", "config/digits.yaml")
MISSPELT = (*DIGITS, "trainer.epoch=5")
COMMANDS = {
    "import torch": ("-c", "import torch"),
    "--help": ("train.py", "--help"),
    "a misspelt key, to the end": MISSPELT,
    "first step of digits": (*DIGITS, "--dry-run"),
}
FIRST_LINE = "a misspelt key, first line"


def seconds_of(*words: str) -> float:
    """Of a whole command, in the folder that this process is in."""
    return timed(partial(subprocess.run, [sys.executable, *words], capture_output=True))


def seconds_to_first_line(*words: str) -> float:
    """From a command's start to the end of the first line on stderr, which may come long before the command's end."""
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        process.stderr.readline()
        seconds = time.perf_counter() - start
        process.stderr.read()
    return seconds


def ours(scale: float) -> dict[str, float]:
    taken = {name: seconds_of(*words) for name, words in COMMANDS.items()}
    return taken | {FIRST_LINE: seconds_to_first_line(*MISSPELT)}


def run(rounds: int, scale: float) -> Result:
    contenders = {name: partial(seconds_of, *words) for name, words in COMMANDS.items()}
    seconds = interleaved(contenders | {FIRST_LINE: partial(seconds_to_first_line, *MISSPELT)}, rounds)
    rows = [Row("import torch", f"{median(seconds['import torch']):.2f} s")]
    for name, most in (("--help", 0.15), (FIRST_LINE, 0.3)):
        taken = median(seconds[name])
        rows.append(Row(name, f"{taken:.2f} s", f"<= {most} s", taken <= most))
    for name in ("a misspelt key, to the end", "first step of digits"):
        more = difference(seconds, name, "import torch")
        rows.append(Row(name, f"import torch + {more:.2f} s", "<= + 2.0 s", more <= 2.0))
    return Result(f"Whole processes, median of {rounds} rounds; the first step has one of evaluation after it.", rows)
