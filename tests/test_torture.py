"""The tortures of tests/torture with small counts; docs/reliability.md says what the full ones have shown."""

import pytest

from resuming import SAFE_TO_CHANGE
from tests.forks import ROOT, forked
from tests.torture.__main__ import OF_ANY_EXPERIMENT, TORTURES
from tests.torture.domains import EXPERIMENTS
from tests.torture.variations import CHANGES, is_safe

# In one process those that compare with the same run; for those that draw at random, with how many.
GROUPS = [
    ("2", ["kill", "chain", "workers"]),
    ("1", ["stop-everywhere", "damage", "signals", "replay", "nospace", "nan", "ranks", "ranks-stop"]),
    ("6", ["mismatch", "hostile", "herd", "powerloss"]),
]
BY_HAND = {"ranks-fsdp", "ranks-disk", "ranks-network"}  # tests/together/test_shards.py runs the first two


@pytest.mark.parametrize(("count", "names"), GROUPS, ids=lambda value: "-".join(value))
def test_torture(count, names, tmp_path):
    done = forked("-m", "tests.torture", *names, "--count", count, "--folder", tmp_path)
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == names


def test_every_torture_is_run_and_documented():
    assert {name for _, names in GROUPS for name in names} | BY_HAND == TORTURES.keys()
    document = (ROOT / "docs/reliability.md").read_text()
    assert all(f"| `{name}` |" in document for name in TORTURES)


def test_every_experiment_is_documented_and_meets_the_tortures_that_look_at_data():
    document = (ROOT / "docs/reliability.md").read_text()
    assert all(f"| `{name}` |" in document for name in EXPERIMENTS.keys() - {"pictures"})
    assert TORTURES.keys() >= OF_ANY_EXPERIMENT
    done = forked("-m", "tests.torture", "nan", "kill", "--experiment", "gpt", code=2)
    assert "nan: for the experiment pictures alone" in done.stderr


def test_the_document_lists_the_keys_that_may_change():
    document = (ROOT / "docs/reliability.md").read_text()
    section = document.split("## What a resumed run may change")[1].split("\n## ")[0]
    assert {key for key in CHANGES if f"`{key}`" in section} == {key for key in CHANGES if is_safe(key)}
    assert CHANGES.keys() >= SAFE_TO_CHANGE
