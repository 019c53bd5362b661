"""How long one waits for an answer: for --help, for the word that a key is misspelt, for the first training step."""

import subprocess
import sys
from functools import partial
from statistics import median

from benchmarks.harness import ROOT, Result, Row, difference, interleaved, timed


def run(rounds: int, scale: float) -> Result:
    def command(*words: str):
        return partial(timed, partial(subprocess.run, [sys.executable, *words], cwd=ROOT, capture_output=True))

    digits = ("train.py", "-c", "config/digits.yaml")
    seconds = interleaved(
        {
            "import torch": command("-c", "import torch"),
            "--help": command("train.py", "--help"),
            "a misspelt key": command(*digits, "trainer.epoch=5"),
            "first step of digits": command(*digits, "--dry-run"),
        },
        rounds,
    )
    first = difference(seconds, "first step of digits", "import torch")
    rows = [Row("import torch", f"{median(seconds['import torch']):.2f} s")]
    for name, most in (("--help", 0.15), ("a misspelt key", 0.4)):
        taken = median(seconds[name])
        rows.append(Row(name, f"{taken:.2f} s", f"<= {most} s", taken <= most))
    rows.append(
        Row("first step of digits (and one of evaluation)", f"import torch + {first:.2f} s", "<= + 2.0 s", first <= 2.0)
    )
    return Result(f"Whole processes, median of {rounds} rounds.", rows)
