"""The tortures of tests/torture with small counts; docs/reliability.md says what the full ones have shown."""

import subprocess
import sys
from pathlib import Path

import pytest

from config.compare import SAFE_TO_CHANGE
from tests.torture.__main__ import TORTURES
from tests.torture.changes import CHANGES, is_safe, keys_of

ROOT = Path(__file__).resolve().parent.parent
# Each process imports torch once: those that draw at random, with how many.
GROUPS = [
    ("2", ["kill", "stop-everywhere", "chain", "workers", "damage", "nospace"]),
    ("1", ["signals", "nan", "replay"]),
    ("8", ["mismatch", "hostile", "herd", "powerloss"]),
]


@pytest.mark.parametrize(("count", "names"), GROUPS, ids=lambda value: "-".join(value))
def test_torture(count, names, tmp_path):
    command = [sys.executable, "-m", "tests.torture", *names, "--count", count, "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=600)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == names


def test_every_torture_is_run_and_documented():
    assert {name for _, names in GROUPS for name in names} == TORTURES.keys()
    document = (ROOT / "docs/reliability.md").read_text()
    assert all(f"| `{name}` |" in document for name in TORTURES)


def test_every_key_has_a_case_and_the_document_lists_what_may_change():
    assert set(keys_of()) == CHANGES.keys()
    document = (ROOT / "docs/reliability.md").read_text()
    section = document.split("## What a resumed run may change")[1].split("\n## ")[0]
    assert {key for key in CHANGES if f"`{key}`" in section} == {key for key in CHANGES if is_safe(key)}
    assert CHANGES.keys() >= SAFE_TO_CHANGE
