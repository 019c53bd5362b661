"""Made-up shapes and the small U-Net that finds them; the variational autoencoder."""

import csv

import pytest
import torch
import torch.nn.functional as F
from torchvision.io import write_png

import predict
from data_loader.pictures.shapes import ShapeKinds, Shapes, shape
from model.autoencoder import VAE, vae_loss
from model.unet import UNet
from tests.running import assert_same_end, evaluate, resume, train
from utils.errors import UserError


def test_a_mask_says_what_its_picture_shows():
    plain = Shapes("train", size=40, noise=1)
    assert plain.classes == ["ground", "disc", "square", "triangle"]
    pictures, masks = plain.inputs.float(), plain.targets
    assert pictures.shape == (40, 3, 48, 48) and masks.unique().tolist() == [0, 1, 2, 3]
    for picture, mask in zip(pictures, masks, strict=True):
        ground = picture[:, mask == 0]
        assert ground.std(dim=1).max() < 3  # one colour: all that is of another is in the mask
    again = Shapes("train", size=60, noise=1)
    assert torch.equal(again.inputs[:40], plain.inputs) and len(Shapes("test", size=60)) == 12
    assert not torch.equal(Shapes("test", size=200).inputs, Shapes("valid", size=200).inputs)


def test_the_kinds_in_a_picture_are_those_of_its_mask():
    kinds, shapes = ShapeKinds("train", size=30, side=32), Shapes("train", size=30, side=32)
    assert kinds.classes == ["disc", "square", "triangle"] and torch.equal(kinds.inputs, shapes.inputs)
    for labels, mask in zip(kinds.targets.tolist(), shapes.targets, strict=True):
        assert [i + 1 for i, is_there in enumerate(labels) if is_there] == [i for i in mask.unique().tolist() if i]


def test_several_labels_a_picture_from_the_command_to_a_table(tmp_path):
    keys = ("dataset={type: ShapeKinds, args: {size: 40, side: 16}}", "model={type: SmallResNet, args: {width: 4}}")
    loss = ("loss=BCEWithLogitsLoss", "metrics=[{type: MultilabelF1Score, name: f1, args: {average: none}}]")
    more = ("trainer.monitor=max val_f1_1", "trainer.save_every=3 steps", "trainer.keep_last=9")
    run = train(tmp_path, *keys, *loss, *more)
    other = train(tmp_path, *keys, *loss, *more, "data_loader.num_workers=2", "--epochs", "1", "--name", "other")
    resume(other / "checkpoints/step-000000003.pt", "--epochs", "2", "data_loader.num_workers=0")
    assert_same_end(run, other)
    assert evaluate(run).keys() >= {"f1_0", "f1_1", "f1_2"}

    pictures = ShapeKinds("test", size=40, side=16).inputs
    write_png(pictures[3], str(tmp_path / "3.png"))
    assert predict.main(["-r", str(run), str(tmp_path / "3.png"), "--out", str(tmp_path / "labels.csv")]) == 0
    (row,) = csv.DictReader((tmp_path / "labels.csv").read_text().splitlines())
    (in_test,) = [
        each for each in csv.DictReader((run / "results/predictions.csv").open()) if each["sample"] == "sample 3"
    ]
    names = [f"score_{name}" for name in ("disc", "square", "triangle")]
    assert [float(row[name]) for name in names] == pytest.approx([float(in_test[name]) for name in names], abs=1e-5)
    assert row["prediction"] == "; ".join(name[6:] for name in names if float(row[name]) > 0.5)


def test_several_labels_are_no_shares_of_one_class(tmp_path, capsys):
    keys = ("dataset={type: ShapeKinds, args: {size: 40, side: 16}}", "model={type: SmallResNet, args: {width: 4}}")
    train(tmp_path, *keys, "loss=CrossEntropyLoss", "metrics=[accuracy]", "trainer.monitor=min val_loss", code=2)
    assert "shares of the classes, and of a sample they sum to 1 to 3, not to 1" in capsys.readouterr().err
    assert not (tmp_path / "saved").exists()


def test_shapes_have_the_area_that_geometry_gives_them():
    shapes = {name: [] for name in ("disc", "square", "triangle")}
    for seed in range(60):
        for name, areas in shapes.items():
            covered = shape(name, 400, torch.Generator().manual_seed(seed))
            inside = not (covered[0].any() or covered[-1].any() or covered[:, 0].any() or covered[:, -1].any())
            radius = 400 * (0.1 + 0.12 * torch.rand(4, generator=torch.Generator().manual_seed(seed))[0].item())
            areas += [covered.sum().item() / radius**2] if inside and covered.any() else []
    means = {name: sum(areas) / len(areas) for name, areas in shapes.items()}
    assert means == pytest.approx({"disc": 3.1416, "square": 2.0, "triangle": 1.299}, rel=0.02)


def test_the_net_gives_each_pixel_its_scores_at_any_size():
    net = UNet(num_classes=4, in_channels=3, widths=[4, 8, 8]).eval()
    for height, width in ((48, 48), (31, 50), (5, 7)):
        assert net(torch.rand(2, 3, height, width)).shape == (2, 4, height, width)


def test_the_bound_is_that_of_the_paper():
    torch.manual_seed(0)
    net, pictures = VAE(in_features=16, hidden=8, latent=3), torch.rand(5, 1, 4, 4)
    output = net.eval()(pictures)
    terms = vae_loss(output, None, beta=2.0)
    prior, code = (
        torch.distributions.Normal(0.0, 1.0),
        torch.distributions.Normal(output["mean"], (output["log_variance"] / 2).exp()),
    )
    kl = torch.distributions.kl_divergence(code, prior).sum(dim=1).mean()
    entropy = F.binary_cross_entropy(output["logits"].sigmoid(), pictures.flatten(1), reduction="sum") / 5
    assert terms["kl"].item() == pytest.approx(2 * kl.item(), rel=1e-4)
    assert terms["reconstruction"].item() == pytest.approx(entropy.item(), rel=1e-4)
    with pytest.raises(UserError, match="these are from -"):
        vae_loss(net(2 * pictures - 1.0), None)
    assert torch.equal(net(pictures)["logits"], output["logits"])  # in evaluation the mean, in training by lot
    assert not torch.equal(net.train()(pictures)["logits"], output["logits"])
    assert net.sample(7).shape == (7, 16)


def test_the_divergence_of_low_precision_moments_is_computed_in_full():
    """Near its least value 0, exp(x) - x - 1 in bfloat16 is off by more than it is, and may be below 0."""
    torch.manual_seed(0)
    moments = {name: (0.01 * torch.randn(50, 20)).bfloat16() for name in ("mean", "log_variance")}
    pictures = {name: torch.rand(50, 4) for name in ("pictures", "logits")}
    in_full = {name: value.float() for name, value in moments.items()}
    assert vae_loss(pictures | moments, None)["kl"].item() == vae_loss(pictures | in_full, None)["kl"].item() > 0
