"""Embeddings of a table's categories."""

import random

import torch
import torch.nn.functional as F

from model.table_net import TableNet
from tests.make_data import write_csv
from tests.running import evaluate, state_of, train

TABLE = """\
name: towns
device: cpu
dataset: {{type: TabularCSV, args: {{path: {path}, target: price, task: regression, standardise_target: true}}}}
data_loader: {{batch_size: 32}}
model: {{type: TableNet, args: {{hidden: [32], dropout: 0}}}}
loss: MSELoss
metrics: [R2Score]
optimizer: {{type: AdamW, args: {{lr: 1e-2}}}}
trainer: {{epochs: 30, monitor: min val_loss, tensorboard: false}}
"""


def test_a_column_is_looked_up_as_by_an_embedding():
    net = TableNet(out_features=1, in_features=7, category_sizes=[3, 2], hidden=[4]).eval()
    assert [layer.weight.shape for layer in net.embeddings] == [(2, 3), (1, 2)]
    numbers, towns, kinds = torch.randn(5, 2), torch.tensor([0, 2, 1, 1, 0]), torch.tensor([1, 0, 0, 1, 1])
    inputs = torch.cat([numbers, F.one_hot(towns, 3).float(), F.one_hot(kinds, 2).float()], dim=1)
    looked_up = [
        F.embedding(which, layer.weight.T) for which, layer in zip((towns, kinds), net.embeddings, strict=True)
    ]
    torch.testing.assert_close(net(inputs), net.layers(torch.cat([numbers, *looked_up], dim=1)))
    assert TableNet(out_features=2, in_features=3)(torch.randn(4, 3)).shape == (4, 2)


def test_a_table_tells_its_categories(tmp_path, capsys):
    drawn = random.Random(0)
    towns = {f"town{number}": drawn.gauss(0, 10) for number in range(25)}
    chosen = [drawn.choice([*towns]) for _ in range(900)]
    sizes = [drawn.uniform(0, 10) for _ in chosen]
    prices = [towns[town] + size + drawn.gauss(0, 0.5) for town, size in zip(chosen, sizes, strict=True)]
    write_csv(tmp_path / "towns.csv", {"town": chosen, "size": sizes, "price": prices})
    config = TABLE.format(path=tmp_path / "towns.csv")
    run = train(tmp_path, config=config)
    facts = state_of(run)["data"]["facts"]
    assert facts["category_sizes"] == [25] and facts["in_features"] == 26
    assert state_of(run)["model"]["embeddings.0.weight"].shape == (13, 25)
    assert evaluate(run)["R2Score"] > 0.98
    train(tmp_path, "model.args.category_sizes=[20]", config=config, code=2)
    assert (
        "model.args.category_sizes: found [20], but the data have columns of [25] categories" in capsys.readouterr().err
    )
