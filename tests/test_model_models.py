"""The models take every input that they promise to, learn, and print their layers."""

import copy
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import model  # noqa: F401
from base import MODELS, BaseModel
from base.base_model import MAX_ROWS, summarise

CASES = [
    ("LinearRegression", {}, (5, 7), (5, 1)),
    ("LinearRegression", {"out_features": 10}, (5, 1, 8, 8), (5, 10)),
    ("LinearRegression", {"out_features": 3, "in_features": 7}, (5, 7), (5, 3)),
    ("MLP", {"out_features": 10}, (5, 1, 28, 28), (5, 10)),
    ("MLP", {"out_features": 2, "hidden": [6, 5], "dropout": 0.1, "activation": "GELU"}, (5, 4), (5, 2)),
    ("MLP", {"out_features": 2, "hidden": [], "in_features": 4}, (5, 4), (5, 2)),
    ("LeNet", {}, (5, 1, 8, 8), (5, 10)),
    ("LeNet", {}, (5, 1, 28, 28), (5, 10)),
    ("LeNet", {"in_channels": 3, "num_classes": 4}, (5, 3, 32, 32), (5, 4)),
    ("LeNet", {"channels": [6, 16], "hidden": 120, "dropout": 0.0, "padding": 0}, (5, 1, 28, 28), (5, 10)),
    ("MnistModel", {}, (5, 1, 28, 28), (5, 10)),
    ("SmallResNet", {"width": 8}, (5, 3, 32, 32), (5, 10)),
    ("SmallResNet", {"width": 4, "blocks": [0, 1], "in_channels": 1, "num_classes": 3}, (5, 1, 28, 28), (5, 3)),
    ("AirbenchNet", {"widths": [4, 8, 8]}, (5, 3, 32, 32), (5, 10)),
    ("AirbenchNet", {"widths": [4, 8, 6], "in_channels": 1, "num_classes": 3}, (5, 1, 17, 17), (5, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "shape", "expected"), CASES)
def test_forward_and_backward(name, args, shape, expected):
    network = MODELS.build(name, args)
    output = network(torch.rand(shape))
    assert output.shape == expected
    output.square().mean().backward()
    assert all((parameter.grad is not None) == parameter.requires_grad for parameter in network.parameters())


def test_mnist_model_is_the_ancestors():
    """The layers of victoresque/pytorch-template's MnistModel, written out, with the same weights."""
    network = MODELS.build("MnistModel", {}).eval()
    pictures = torch.rand(4, 1, 28, 28)
    log_probabilities = network(pictures)
    assert [tuple(p.shape) for p in network.parameters()] == [
        (10, 1, 5, 5), (10,), (20, 10, 5, 5), (20,), (50, 320), (50,), (10, 50), (10,)
    ]  # fmt: skip
    conv1, bias1, conv2, bias2, fc1, fc1_bias, fc2, fc2_bias = network.parameters()
    x = F.relu(F.max_pool2d(F.conv2d(pictures, conv1, bias1), 2))
    x = F.relu(F.max_pool2d(F.conv2d(x, conv2, bias2), 2)).view(-1, 320)
    x = F.linear(F.relu(F.linear(x, fc1, fc1_bias)), fc2, fc2_bias)
    assert torch.allclose(log_probabilities, F.log_softmax(x, dim=1), atol=1e-6)
    kinds = [type(layer) for layer in network.modules()]
    assert nn.Dropout2d in kinds and nn.Dropout in kinds


def test_small_resnet_is_resnet_9():
    network = MODELS.build("SmallResNet", {})
    assert sum(isinstance(layer, (nn.Conv2d, nn.Linear)) for layer in network.modules()) == 9
    assert sum(p.numel() for p in network.parameters()) == 6_573_120


def test_small_resnet_learns_four_pictures_by_heart():
    torch.manual_seed(0)
    network = MODELS.build("SmallResNet", {"in_channels": 1, "num_classes": 4, "width": 8})
    pictures, target = torch.rand(4, 1, 16, 16), torch.arange(4)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(network(pictures), target).backward()
        optimizer.step()
    assert (network.eval()(pictures).argmax(dim=1) == target).all()


class Shared(BaseModel):
    """Two names for one layer, a parameter of its own, a layer that is never used, a dict in and a dict out."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.again = self.first
        self.tied = nn.Linear(3, 3, bias=False)
        self.tied.weight = self.first.weight
        self.unused = nn.Linear(2, 2)
        self.scale = nn.Parameter(torch.ones(3))
        self.steps = nn.ModuleList([nn.Identity()])
        self.norm = nn.BatchNorm1d(3)

    def forward(self, batch, shift=0.0):
        hidden = self.again(self.first(self.steps[0](batch["x"])))
        return {"y": self.norm(self.tied(hidden)) * self.scale + shift}


def test_summary_of_an_odd_model():
    network = Shared()
    network.unused.requires_grad_(False)
    network.first.bias.requires_grad_(False)
    lines = network.summary({"x": torch.rand(4, 3)}, shift=1.0).splitlines()
    cells = {line.split()[0]: line.split() for line in lines[2:-2]}
    assert lines[0].split() == ["layer", "type", "output", "shape", "parameters", "trainable"]
    assert cells["scale"] == ["scale", "Parameter", "(3,)", "3", "yes"]
    assert cells["first"] == ["first", "Linear", "(4,", "3)", "12", "partly"]
    assert "again" not in cells
    assert cells["tied"] == ["tied", "Linear", "(4,", "3)", "-"]
    shallow = summarise(network, {"x": torch.rand(4, 3)}, depth=1).splitlines()
    assert ["steps", "ModuleList", "-", "-"] in [line.split() for line in shallow]
    assert cells["unused"] == ["unused", "Linear", "not", "used", "6", "no"]
    assert lines[-1].startswith("27 parameters, 18 of them trainable")
    (line,) = summarise(nn.Linear(2, 3), torch.rand(4, 2)).splitlines()[2:-2]
    assert line.split() == ["model", "Linear", "(4,", "3)", "9", "yes"]


def test_summary_takes_lazy_layers_and_leaves_the_rest_as_it_was():
    network = nn.Sequential(nn.LazyLinear(4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    network[1].eval()
    buffers = copy.deepcopy(dict(network.named_buffers()))
    torch.manual_seed(0)
    state = torch.get_rng_state()
    text = summarise(network, torch.rand(6, 3, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(torch.get_rng_state(), state)
    assert "(6, 4)" in text and "34 parameters" in text  # 3 * 4 + 4, 8, 4 * 2 + 2
    for inputs, outcome in ((torch.rand(6, 3), nullcontext()), (torch.rand(6, 5), pytest.raises(RuntimeError))):
        with outcome:
            summarise(network, inputs)
        assert [layer.training for layer in network] == [True, False, True, True] and network.training
        assert all(torch.equal(buffer, buffers[name]) for name, buffer in network.named_buffers())
        assert not any(layer._forward_hooks for layer in network.modules())


@pytest.mark.parametrize("name", ["resnet18", "vit_b_32"])
def test_summary_of_a_deep_model_fits_on_a_screen(name):
    network = MODELS.build(name, {"num_classes": 5})
    lines = summarise(network, torch.rand(1, 3, 224, 224)).splitlines()
    assert 10 < len(lines) <= MAX_ROWS + 4
    assert lines[-1].startswith(f"{sum(p.numel() for p in network.parameters()):,} parameters")
    for column in ("type", "output shape", "parameters", "trainable"):
        start = lines[0].index(column)
        assert all(line[start - 1] == " " for line in lines[2:-2] if len(line) > start)
