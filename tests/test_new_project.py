"""Projects of one's own: made from the template, and brought up to date with it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from new_project import TASKS, main
from starters.project import MANIFEST, machinery
from tests.forks import forked

ROOT = Path(__file__).resolve().parent.parent


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture(autouse=True)
def somebody(monkeypatch):
    """Who commits, where the machine's own git does not know."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Somebody")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "somebody@example.org")


@pytest.mark.parametrize("task", TASKS)
def test_a_new_project_trains_and_tests(tmp_path, task):
    project = tmp_path / "my_project"
    assert main([str(project), "--task", task]) == 0
    assert not git(project, "status", "--porcelain") and len(git(project, "log", "--oneline").splitlines()) == 1
    assert {"tests", "docs", "model", "train.py"} <= {path.name for path in project.iterdir()}
    assert not {"benchmarks", "starters", "new_project.py", ".ci"} & {path.name for path in project.iterdir()}
    assert [path.name for path in (project / "config").glob("*.yaml")] == ["my_project.yaml"]
    assert all("NAME" not in path.name for path in project.rglob("*") if ".git" not in path.parts)
    forked("train.py", "-c", "config/my_project.yaml", "trainer.epochs=1", folder=project)
    assert "loss" in forked("test.py", "-r", "saved/my_project/latest", folder=project).stdout
    if task == "classification":
        Image.new("L", (16, 16), 255).save(project / "saved" / "white.png")
        told = forked("predict.py", "-r", "saved/my_project/latest", "saved/white.png", folder=project).stdout
        assert told.splitlines()[1].split(",")[1] in ("lying", "standing")
    assert not git(project, "status", "--porcelain")


def test_words_of_git_and_of_the_shell(tmp_path, monkeypatch, capsys):
    """A commit that a hook refuses without a word; a path that a shell would take apart; git away."""
    hook = tmp_path / "hooks" / "pre-commit"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    for key, value in (("COUNT", "1"), ("KEY_0", "core.hooksPath"), ("VALUE_0", str(hook.parent))):
        monkeypatch.setenv(f"GIT_CONFIG_{key}", value)
    assert main([str(tmp_path / "my project"), "--task", "tables"]) == 0
    told = capsys.readouterr().out
    assert "git commit failed, do it yourself: it ended with 1" in told and f"cd '{tmp_path / 'my project'}' &&" in told
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([str(tmp_path / "my project"), "--update"]) == 2
    assert "git is not installed" in capsys.readouterr().err


def test_a_template_without_its_history(tmp_path, template):
    with_history = set(machinery(template))
    shutil.rmtree(template / ".git")
    (template / "saved" / "digits").mkdir(parents=True)
    (template / "saved" / "digits" / "config.yaml").write_text("name: digits\n")
    assert set(machinery(template)) == with_history
    new_project(template, tmp_path / "mine")
    assert not git(tmp_path / "mine", "status", "--porcelain")


def test_nothing_is_written_over(tmp_path, capsys):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "thesis.txt").write_text("years of work")
    for folder, said in (
        (tmp_path / "there", "is there already"),
        (tmp_path / "there" / "thesis.txt", "is there already"),
        (ROOT / "saved" / "mine", "inside the template"),
        *((tmp_path / name, f"would be called '{name}'") for name in ("con", "2024", "x" * 101)),
        (tmp_path / "日本", "would be called ''"),
    ):
        assert main([str(folder)]) == 2
        assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["there", "thesis.txt"]
    assert (tmp_path / "there" / "thesis.txt").read_text() == "years of work"


@pytest.fixture
def template(tmp_path) -> Path:
    """A copy of the template that may change, with a history of its own."""
    copy = tmp_path / "template"
    for file in machinery(ROOT):
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, copy / file)
    for name in ("starters", "new_project.py"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, copy / name)
    commit(copy)
    return copy


def commit(folder: Path) -> None:
    if not (folder / ".git").exists():
        git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "changes")


def new_project(template: Path, *arguments: object, code: int = 0) -> subprocess.CompletedProcess:
    return forked("new_project.py", *arguments, folder=template, code=code)


def test_an_update_replaces_what_is_the_templates(tmp_path, template):
    project = tmp_path / "mine"
    new_project(template, project)
    (project / "trainer" / "ema.py").write_text("# the user's own averages\n")
    (project / "utils" / "plots.py").unlink()
    (project / "model" / "own.py").write_text("from trainer.closure import Old, Moved\nfrom utils import plots\n")
    (project / "model" / "odd.py").write_bytes(b"caf\xe9(\0\n")
    commit(project)
    for file in ("trainer/ema.py", "base/plan.py", "utils/plots.py"):
        with open(template / file, "a") as text:
            text.write("# newer\n")
    (template / "model" / "newer.py").write_text("class Moved: ...\n")
    (template / "trainer" / "closure.py").unlink()
    commit(template)

    refused = new_project(template, project, "--update", code=2)
    assert "--yes" in refused.stderr and not git(project, "status", "--porcelain")
    said = new_project(template, project, "--update", "--yes").stdout
    for line in (
        "+ new    model/newer.py",
        "~ newer  base/plan.py",
        "- gone   trainer/closure.py",
        "! yours  trainer/ema.py",
        "yours: model/own.py imports Old of trainer/closure.py, which is gone",
        "yours: model/own.py imports Moved of trainer/closure.py, which is in model/newer.py now",
    ):
        assert line in said
    assert said.count("to change by hand") == 2
    changed = git(project, "status", "--porcelain").split()[1::2]
    assert sorted(changed) == [MANIFEST, "base/plan.py", "model/newer.py", "trainer/closure.py"]
    assert (project / "base" / "plan.py").read_bytes() == (template / "base" / "plan.py").read_bytes()
    assert (project / "trainer" / "ema.py").read_text() == "# the user's own averages\n"
    commit(project)
    again = new_project(template, project, "--update").stdout  # the user's file is told of again, and left again
    assert "! yours  trainer/ema.py" in again and "newer" not in again.replace("newer template", "")
    assert not git(project, "status", "--porcelain")


def test_a_file_of_the_users_that_the_template_has_now_too_is_left(tmp_path, template):
    project = tmp_path / "mine"
    new_project(template, project)
    (project / "model" / "vit.py").write_text("# the user's\n")
    commit(project)
    (template / "model" / "vit.py").write_text("# the template's\n")
    commit(template)
    assert "! yours  model/vit.py" in new_project(template, project, "--update", "--yes").stdout
    assert (project / "model" / "vit.py").read_text() == "# the user's\n"


def test_an_update_that_could_not_be_undone_is_refused(tmp_path, template, capsys):
    project = tmp_path / "mine"
    new_project(template, project)
    (project / "train.py").write_text("# under way\n")
    assert main([str(project), "--update", "--yes"]) == 2
    assert "not committed" in capsys.readouterr().err
    commit(project)
    (project / MANIFEST).write_text(json.dumps({"files": {"train.py": 1}}))
    commit(project)
    assert main([str(project), "--update", "--yes"]) == 2
    assert "damaged" in capsys.readouterr().err
    shutil.rmtree(project / ".git")
    (project / MANIFEST).write_text(json.dumps({"files": {}}))
    assert main([str(project), "--update", "--yes"]) == 2
    assert "not a git repository" in capsys.readouterr().err
    (project / MANIFEST).unlink()
    assert main([str(project), "--update", "--yes"]) == 2
    assert "not made by new_project.py" in capsys.readouterr().err


def test_options_that_do_not_go_together(capsys):
    for arguments in (["x", "--update", "--task", "tables"], ["x", "--yes"], []):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
    assert "--yes goes with --update" in capsys.readouterr().err
