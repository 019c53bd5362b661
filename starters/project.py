"""A project made from the template, and the template's later changes brought into it.

A project has two kinds of files. The machinery is the template's: `.template.json` in the project lists it, each file
with a digest of what it was. All else is the user's, and is never touched.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from fnmatch import fnmatch
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from config.schema import is_bad_name
from config.yaml_reader import resolve_scalar
from starters.lost_imports import lost_imports
from utils.errors import UserError
from utils.files import write_durably
from utils.terminal import is_agreed

MANIFEST = ".template.json"
# What a project begins without: how the template is tested and measured, its examples, and what makes projects.
LEFT_OUT = (
    *(
        "tests/*",
        "benchmarks/*",
        ".ci/*",
        "starters/*",
        "new_project.py",
        "requirements-bench.txt",
        "requirements-dev.txt",
    ),
    *("README*", "pyproject.toml", "docs/*.png", "config/*.yaml"),
    *("data_loader/pictures/digits.py", "data_loader/synthetic.py"),
    *("model/airbench.py", "model/lenet.py", "model/linear.py", "model/mlp.py", "model/resnet.py"),
)

NO_SOURCE = {".git", ".venv", "venv", "__pycache__", ".pytest_cache", ".ruff_cache", "saved", "data"}


class Changes(NamedTuple):
    """What an update would do with each file of the machinery."""

    added: list[str]
    replaced: list[str]
    removed: list[str]
    kept: list[str]  # both the user and the template have changed them

    def told(self) -> str:
        marks = (("+ new", self.added), ("~ newer", self.replaced), ("- gone", self.removed), ("! yours", self.kept))
        return "\n".join(f"  {mark:<8} {file}" for mark, files in marks for file in files)


def create(template: Path, folder: Path, task: str) -> None:
    """Make a project for a task in a folder. UserError where there is something already."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder} is there already, and nothing is written over; give another name")
    if template == folder.resolve() or template in folder.resolve().parents:
        raise UserError(f"{folder} lies inside the template; make the project beside it: ../{folder.name}")
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", folder.resolve().name).strip("_-")
    if is_bad_name(name) or not isinstance(resolve_scalar(name), str):  # con, or 2024, which YAML takes for a number
        raise UserError(f"{folder}: its runs would be called {name!r}, which no run may be; give another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=folder.parent) as temporary:
        project = Path(temporary) / name
        files = machinery(template)
        for file in files:
            _copy(template / file, project / file)
        for starter in ("starters/every", f"starters/{task}"):
            for file in listed(template, starter):
                _fill_in(template / file, project / Path(file).relative_to(starter), name)
        _write_manifest(project, template, {"task": task}, {file: digest_of(template / file) for file in files})
        project.chmod(0o755)
        os.replace(project, folder)
    print(f"{folder}: a new project ({task}), see its README.md\n{_begin_history(folder, template)}")
    steps = f"pip install -r requirements-dev.txt && pytest && python train.py -c config/{name}.yaml"
    print(f"next: cd {shlex.quote(str(folder))} && {steps}")


def update(template: Path, folder: Path, is_yes: bool) -> int:
    """Bring the template's machinery into a project, after showing what changes; returns the exit code."""
    manifest = _read_manifest(folder)
    _check_nothing_is_lost(folder)
    changes = changes_between(template, folder, manifest["files"])
    if not any(changes):
        print(f"{folder} has the machinery of this template")
        return 0
    print(f"{folder}: its machinery against this template's\n{changes.told()}")
    for file in changes.kept:
        theirs = template / file if (template / file).exists() else os.devnull
        seen = shlex.join(("git", "diff", "--no-index", str(folder / file), str(theirs)))
        print(f"left as it is, as you have changed it: {seen}")
    of_users = [file for file in listed(folder) if file not in manifest["files"] or file in changes.kept]
    for line in lost_imports(_sources(folder, of_users), manifest["files"], _sources(template, machinery(template))):
        print(f"to change by hand, as the file is yours: {line}")
    if not any(changes[:3]):
        return 0
    if not is_yes and not is_agreed("do it?", "nobody is there to ask; to do it: --yes"):
        print("nothing is changed")
        return 0
    for file in (*changes.added, *changes.replaced):
        _copy(template / file, folder / file)
        manifest["files"][file] = digest_of(template / file)
    for file in changes.removed:
        (folder / file).unlink(missing_ok=True)
        del manifest["files"][file]
    _write_manifest(folder, template, manifest, manifest["files"])
    print(f"done; look at it with git diff, run pytest in {folder}, and commit")
    return 0


def changes_between(template: Path, folder: Path, known: dict[str, str]) -> Changes:
    """What an update would do. known: the digests of the machinery when it came into the project."""
    changes = Changes([], [], [], [])
    new = {file: digest_of(template / file) for file in machinery(template)}
    for file, digest in new.items():
        path = folder / file
        if not path.exists():
            if file not in known:  # else the user has removed it
                changes.added.append(file)
        elif (own := digest_of(path)) == digest:
            known[file] = digest
        elif own == known.get(file):
            changes.replaced.append(file)
        elif digest != known.get(file):
            changes.kept.append(file)
    for file in known.keys() - new.keys():
        path = folder / file
        (changes.removed if not path.exists() or digest_of(path) == known[file] else changes.kept).append(file)
    changes.removed.sort()
    return changes


def machinery(template: Path) -> list[str]:
    """The files of the template that a project is made of."""
    return [file for file in listed(template) if not any(fnmatch(file, pattern) for pattern in LEFT_OUT)]


def listed(template: Path, folder: str = ".") -> list[str]:
    """The files of the template in a folder, as git lists them: none that somebody has added without committing it."""
    found = _git(template, "ls-files", "-z", "--", folder)
    if found.returncode == 0:
        files = found.stdout.split("\0")
    else:  # a copy without its history
        below = (path.relative_to(template) for path in sorted((template / folder).rglob("*")))
        files = [path.as_posix() for path in below if not NO_SOURCE & {*path.parts}]
    return [file for file in files if file and (template / file).is_file()]


def _sources(folder: Path, files: list[str]) -> dict[str, str]:
    return {file: (folder / file).read_text("utf-8", "replace") for file in files if file.endswith(".py")}


def digest_of(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target)


def _fill_in(source: Path, target: Path, name: str) -> None:
    """Copy a file of a starter, with the project's name in place of NAME in its text and its own name."""
    target = target.with_name(target.name.replace("NAME", name).removesuffix(".in"))  # another's pyproject.toml
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(source.read_text(encoding="utf-8").replace("NAME", name), encoding="utf-8")


def _write_manifest(project: Path, template: Path, about: dict[str, Any], files: dict[str, str]) -> None:
    commit = _git(template, "rev-parse", "HEAD").stdout.strip()
    text = json.dumps({**about, "template": commit, "files": dict(sorted(files.items()))}, indent=1) + "\n"
    write_durably(project / MANIFEST, lambda file: file.write(text.encode()))


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(digest, str) for digest in manifest["files"].values()):
            raise ValueError("its 'files' are no digests")
    except FileNotFoundError as error:
        raise UserError(f"{folder} has no {MANIFEST}: it was not made by new_project.py") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error}): bring it back from git") from error
    return manifest


def _check_nothing_is_lost(folder: Path) -> None:
    """UserError unless all of a project is committed: whatever an update does can be undone then."""
    status = _git(folder, "status", "--porcelain", "--", ".")
    if status.returncode:
        remedy = "an update could not be undone: git init, and commit all"
        raise UserError(f"{folder}: git cannot tell what is committed ({_said(status)}); {remedy}")
    if status.stdout:
        raise UserError(f"{folder} has changes that are not committed, and an update could not be undone: commit first")


def _begin_history(folder: Path, template: Path) -> str:
    """Make a git repository of a new project, with a first commit where git knows who commits; returns what to tell."""
    commit = _git(template, "rev-parse", "--short", "HEAD").stdout.strip()
    message = f"Begin from pytorch-template {commit}"
    for arguments in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", message)):
        done = _git(folder, *arguments)
        if done.returncode:
            return f"git {arguments[0]} failed, do it yourself: {_said(done)}"
    return f"a git repository, with one commit: {message}"


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of what git, or a hook, has said."""
    lines = (done.stdout + done.stderr).split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), f"it ended with {done.returncode}")


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", "git is not installed")
