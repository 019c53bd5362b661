"""A file of the user's beside those of the template: its component goes first, and the run says so."""

import shutil
from pathlib import Path

import pytest

from base import REGISTRIES
from base.shipped import SHIPPED
from tests.forks import forked
from tests.running import TINY

ROOT = Path(__file__).resolve().parent.parent
OWN_METRIC = """\
from base import METRICS
{before}

@METRICS.register
def accuracy(output, target):
    return target * 0 + 0.25
"""


@pytest.fixture
def project(tmp_path):
    """A copy of the project without tests."""
    ignored = shutil.ignore_patterns("saved", ".git", "data", "__pycache__", ".*_cache", "tests", "docs", "benchmarks")
    shutil.copytree(ROOT, tmp_path / "project", ignore=ignored)
    (tmp_path / "project/tiny.yaml").write_text(TINY.replace("[Recorder]", "[]"))
    return tmp_path / "project"


def run(project, *arguments):
    return forked("train.py", "-c", "tiny.yaml", "--epochs", "1", *arguments, folder=project, code=None)


def test_what_the_template_ships_is_known():
    components = (registry.find(name) for registry in REGISTRIES.values() for name in registry.own_names())
    modules = {component.__module__ for component in components}
    rooms = ("data_loader.", "model.", "trainer.")
    assert {module for module in modules if module.startswith(rooms)} == SHIPPED
    assert all((ROOT / f"{module.replace('.', '/')}.py").exists() for module in SHIPPED)


@pytest.mark.parametrize("name", ["a_first", "zz_last"])  # before and after the template's file
def test_an_own_component_goes_before_the_templates(name, project):
    (project / f"model/{name}.py").write_text(OWN_METRIC.format(before=""))
    done = run(project, "metrics=[accuracy]")
    line = f"metric accuracy is model/{name}.py's, not the template's model/metric.py"
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(line) == 1 and "val_accuracy=0.25" in done.stdout
    assert line in (project / "saved/tiny/latest/train.log").read_text()


OWN_LOSS = """
import torch.nn.functional as F
from base import LOSSES

@LOSSES.register
def BCELoss(output, target):
    return F.binary_cross_entropy_with_logits(output, target)
"""


def test_an_own_component_called_as_a_librarys_is_what_it_is_itself(project):
    (project / "model/mine.py").write_text(OWN_LOSS)
    keys = ["--epochs=2", "lr_scheduler=null", "metrics=[accuracy]", "trainer.monitor=off", "trainer.tensorboard=false"]
    told, tables = [], []
    for loss in ("BCELoss", "BCEWithLogitsLoss"):
        command = (
            "train.py",
            "-c",
            "config/csv_binary.yaml",
            *keys,
            f"loss={{type: {loss}, class_weights: null}}",
            f"name={loss}",
        )
        told.append(forked(*command, folder=project).stdout)
        tables.append((project / f"saved/{loss}/latest/metrics.csv").read_text().splitlines()[-1].split(",")[2:6])
    assert "loss BCELoss is model/mine.py's, not torch's" in told[0]
    assert tables[0] == tables[1]  # its outputs are logits, and the accuracy takes them for that


def test_an_own_component_that_does_not_import_is_not_replaced_by_the_templates(project):
    (project / "model/mine.py").write_text(OWN_METRIC.format(before="import not_there"))
    done = run(project, "metrics=[accuracy]")
    assert done.returncode == 2 and "it is defined in model/mine.py, which cannot be imported" in done.stderr
    assert run(project, "metrics=[exact_match]").returncode == 0


def test_two_own_components_of_one_name_are_told_with_their_files(project):
    for name in ("one", "two"):
        (project / f"model/{name}.py").write_text(OWN_METRIC.format(before=""))
    done = run(project)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr == "metric accuracy is in two files, model/one.py and model/two.py: rename one\n"
