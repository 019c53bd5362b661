"""What the README and docs/own_steps.md show is run here, to the letter, in a copy of the project."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from base.catalog import reference
from tests.forks import forked

ROOT = Path(__file__).resolve().parent.parent
README, OWN_STEPS, CONFIG = ((ROOT / page).read_text() for page in ("README.md", "docs/own_steps.md", "docs/config.md"))


def section(title: str) -> str:
    return README.split(f"\n## {title}\n")[1].split("\n## ")[0]


def files_shown(text: str) -> dict[str, str]:
    """The blocks that begin with a comment naming a file of this project, by that name."""
    blocks = re.findall(r"```(?:python|yaml)\n(# (\S+\.(?:py|yaml))\n.*?)```", text, re.DOTALL)
    return {name: block for block, name in blocks}


def copy_of_project(copy: Path, page: str) -> Path:
    """A copy of the project with the files that a page shows in it."""
    ignored = shutil.ignore_patterns("saved", ".git", "data", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, copy, ignore=ignored)
    for name, text in files_shown(page).items():
        (copy / name).write_text(text)
    return copy


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copy_of_project(tmp_path_factory.mktemp("clone") / "project", README + OWN_STEPS)


def run(project: Path, command: str, code: int = 0) -> subprocess.CompletedProcess:
    python, *words = command.split("#")[0].split()
    assert python == "python"
    return forked(*words, folder=project, code=code)


def commands(text: str) -> list[str]:
    return [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def test_own_components_take_under_fifteen_lines():
    shown = files_shown(README + OWN_STEPS)
    assert {"data_loader/spiral.py", "model/spiral_net.py", "model/spiral_loss.py"} <= shown.keys()
    for name, text in shown.items():
        code = [line for line in text.splitlines()[1:] if line.strip()]
        assert len(code) < 15, f"{name} has {len(code)} lines"


def test_own_data_model_loss_and_metric_train_and_test(project):
    train, test = commands(section("Your own model, loss and metric"))
    output = run(project, train).stdout
    assert re.search(r"epoch=20 step=\d+ loss=\S+ accuracy=\S+ confidence=\S+ val_loss=", output)
    assert "accuracy" in run(project, test).stdout
    assert (project / "saved/spiral/latest/test/confusion_matrix.png").exists()
    assert json.loads((project / "saved/spiral/latest/test/metrics.json").read_text())["accuracy"] > 0.95


@pytest.mark.parametrize("page", [section("Your own step"), OWN_STEPS], ids=["README", "own_steps"])
def test_own_trainer(project, page):
    (command,) = commands(page)
    assert "epoch=2 " in run(project, f"{command} --epochs 2").stdout


def test_errors_are_the_ones_shown(project):
    command, errors = re.search(r"\$ (python train\.py .*)\n((?:.*\n)+?)```", section("Experiments")).groups()
    numbers = re.compile(r"\d+")  # of components, which grow with the libraries
    assert numbers.sub("N", run(project, command, code=2).stderr) == numbers.sub("N", errors)


def test_config_reference_is_the_schema():
    start, end = "<!-- config reference: python -m base.catalog -->\n", "<!-- end of config reference -->"
    assert CONFIG.split(start)[1].split(end)[0].strip() == reference().strip()


def test_every_experiment_is_listed():
    for path in (ROOT / "config").glob("*.yaml"):
        assert f"`{path.stem}`" in section("Experiments")


def test_the_korean_readme_says_the_same():
    """Headings, code and commands, what is called by its name, and where it leads."""
    korean = (ROOT / "README.ko.md").read_text(encoding="utf-8")
    for what in (r"^#+(?= )", r"```.*?```", r"^\| `[^|]*\|", r"\]\(([^)]*)\)"):
        found = [re.findall(what, text, re.MULTILINE | re.DOTALL) for text in (README, korean)]
        assert found[0] == found[1]
    prose = (re.sub(r"```.*?```", "", text, flags=re.DOTALL) for text in (README, korean))
    assert len({tuple(sorted(re.findall(r"`[^`]+`", text))) for text in prose}) == 1


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 250
