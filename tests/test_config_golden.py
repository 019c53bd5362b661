"""What is told of a config or a command line, word for word: the cases of tests/golden/."""

import pytest
import yaml

from config import yaml_reader
from tests import golden

CASES = list(golden.cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file.stem}:{case.line + 1}")
def test_what_is_told(case, monkeypatch):
    monkeypatch.chdir(golden.FOLDER.parent.parent)
    told = case.told()
    assert len(told) == len(case.expected) and all(map(golden.fits, told, case.expected)), "\n".join(told)


@pytest.mark.parametrize("case", [case for case in CASES if case.file.stem == "yaml"], ids=lambda case: case.line + 1)
def test_pyyaml_without_libyaml_tells_the_same(case, monkeypatch):
    loader = type("Loader", (yaml.SafeLoader,), dict(vars(yaml_reader._Loader)))
    monkeypatch.setattr(yaml_reader, "_Loader", loader)
    assert case.told() == case.expected


def test_no_case_was_lost_while_reading_the_files():
    lines = [line for file in golden.FOLDER.glob("*.txt") for line in file.read_text().splitlines()]
    assert len(CASES) == sum(line.startswith("$") for line in lines) > 300
    told = [line for line in lines if line and line[0] not in "#|$"]
    assert len(told) == sum(len(case.expected) for case in CASES)
