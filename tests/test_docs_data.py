"""What docs/data.md shows is run here, to the letter, in a copy of the project."""

import json
import re
import shlex

import pytest

from tests.forks import forked
from tests.test_readme import ROOT, commands, copy_of_project, files_shown

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the page's files, in which all of its commands have run; and what they printed."""
    copy = copy_of_project(tmp_path_factory.mktemp("clone") / "project", PAGE)
    (copy / "names.txt").write_text("oldoak\nnightowl\n")
    printed = []
    for command in commands(PAGE):
        python, *words = shlex.split(command)
        assert python == "python"
        printed += ["$ " + command, forked(*words, folder=copy).stdout]
    return copy, "\n".join(printed)


def scores(project, name):
    (results,) = (project / "saved" / name).glob("2*/test/metrics.json")
    return json.loads(results.read_text())


def test_the_examples_learn(project):
    copy, out = project
    assert scores(copy, "names")["accuracy"] > 0.9
    first, second = (copy / "kinds.csv").read_text().splitlines()[1:]
    assert first.startswith("oldoak,tree,0.") and second.startswith("nightowl,bird,0.")
    assert scores(copy, "waves")["mean_absolute_error"] < 0.3  # of numbers between -1 and 1
    accuracies = [float(text) for text in re.findall(r"val_accuracy ([\d.]+)", out.split("config/blobs.yaml")[1])]
    assert max(accuracies) > 0.95
    assert "order='{type: short_first" in out and "type: MixUp" in out


def test_the_data_are_told_at_the_start(project):
    _, out = project
    assert re.search(r"data: Names, samples: train \d+, valid \d+\nclasses: 2: tree \d+, bird \d+\n", out)
    assert "a batch, as the model gets it: float32 (N, 3, 16, 16); target: int64 (N, 16, 16)" in out
    assert "float32 (N, 16); target: none" in out


def test_every_file_that_is_shown_is_used():
    named = {name.split("/")[-1].split(".")[0] for name in files_shown(PAGE)}
    assert named >= {"names", "letter_net", "curriculum", "blobs", "dot_net", "two_views", "waves"}
    assert all(len(shlex.split(command)) > 1 for command in commands(PAGE))
