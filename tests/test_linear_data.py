"""The first data set of the tutorial: a linear layer finds the weights that it was made with."""

import re

import pytest
import torch

from data_loader.linear_data import LinearData
from tests.running import state_of
from tests.test_readme import ROOT
from train import main


def test_points_lie_on_the_line_but_for_the_noise():
    exact = LinearData("train", weights=[1.0, 0.5, -2.0], bias=3.0, noise=0.0, size=50)
    torch.testing.assert_close(exact.targets[:, 0], exact.inputs @ torch.tensor([1.0, 0.5, -2.0]) + 3)
    noisy = LinearData("train", noise=0.5, size=4000)
    assert (noisy.targets - noisy.inputs @ torch.tensor([[2.0], [-3.4]]) - 4.2).std().item() == pytest.approx(
        0.5, rel=0.05
    )
    whole = LinearData("train", weights=[1, 2], bias=3, noise=0)  # as the command line gives them
    assert whole.targets.dtype == torch.float32
    parts = [LinearData(split, size=100) for split in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [100, 20, 20]
    assert not torch.equal(parts[1].inputs, parts[2].inputs) and not torch.equal(parts[0].inputs[:20], parts[1].inputs)
    assert torch.equal(LinearData("test", size=100).inputs, parts[2].inputs)


def test_the_tutorial_tells_what_is_found(tmp_path, capsys):
    page = (ROOT / "docs/tutorial.md").read_text()
    assert main(["-c", str(ROOT / "config/linear_regression.yaml"), "device=cpu", f"trainer.save_dir={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    assert all(line in printed for line in page.split("```text\n")[1].split("\n```")[0].splitlines())
    model = state_of((tmp_path / "linear_regression/latest").resolve(), "best")["model"]
    found = [*model["linear.weight"][0].tolist(), *model["linear.bias"].tolist()]
    assert found == pytest.approx([2, -3.4, 4.2], abs=2e-3)
    told = [float(text) for text in re.findall(r"-?\d\.\d+", page.split("\nfound [[")[1].split("\n")[0])]
    assert told == pytest.approx(found, abs=1e-5)
