"""docs/architecture.md against the code: the files that a run leads through, and the keys of a checkpoint."""

import json
import re
from pathlib import Path

import pytest

from tests.forks import forked
from utils.checkpoint import read_checkpoint

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MOST_FILES, MOST_LINES = 25, 2700

# Runs train.py on the arguments, then on `-r RUN`, and tells in which files of the project a function ran.
FOLLOW = """
import json, os, sys, threading
import inspect
root, seen = os.getcwd() + os.sep, {}
def note(frame, event, argument):
    code = frame.f_code
    is_function = code.co_flags & inspect.CO_NEWLOCALS and code.co_flags & inspect.CO_OPTIMIZED
    if event == "call" and is_function and code.co_filename.startswith(root):
        seen.setdefault(code.co_filename[len(root):])
import train
from script import load_registries
load_registries()
threading.setprofile(note); sys.setprofile(note)
folder = sys.argv.pop()
start, resume = [*sys.argv[1:], f"trainer.save_dir={folder}"], ["-r", f"{folder}/digits/latest", "--epochs", "2"]
codes = [train.main(start), train.main(resume)]
sys.setprofile(None)
print(json.dumps([codes, list(seen)]))
"""


def listed(heading: str) -> dict[str, str]:
    """The second column of the table below a heading, by the files or keys in the first."""
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]+`) \| ([^|]*?) \|", section, re.MULTILINE)
    return {name: second for names, second in rows for name in re.findall(r"`([^`]+)`", names)}


@pytest.fixture(scope="module")
def followed(tmp_path_factory) -> tuple[list[str], Path]:
    """The files that a run of the digits, stopped after an epoch and resumed, led through; and its folder."""
    folder = tmp_path_factory.mktemp("saved")
    done = forked("-c", FOLLOW, "-c", "config/digits.yaml", "--epochs", "1", folder)
    codes, files = json.loads(done.stdout.splitlines()[-1])
    assert codes == [0, 0]
    return files, folder / "digits" / "latest"


def test_the_way_of_a_run_is_what_a_run_leads_through(followed):
    files, _ = followed
    way, beside = listed("The way of a run"), listed("Beside the way")
    assert not [file for file in files if file not in {**way, **beside} and not file.startswith(("config/", "tests/"))]
    assert not [file for file in {**way, **beside} if file not in files]


def test_the_way_of_a_run_stays_short():
    way = listed("The way of a run")
    num_lines = {file: len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in way}
    assert {file: int(lines) for file, lines in way.items()} == num_lines
    assert len(way) <= MOST_FILES and sum(num_lines.values()) <= MOST_LINES


def test_every_key_of_a_checkpoint_is_listed(followed):
    _, run = followed
    state = read_checkpoint(run / "checkpoints" / "last.pt")
    assert listed("A checkpoint").keys() - {"ema", "loss_state", "shards"} == state.keys()
