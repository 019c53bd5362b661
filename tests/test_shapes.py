"""Made-up shapes and the small U-Net that finds them; the variational autoencoder."""

import pytest
import torch
import torch.nn.functional as F

from data_loader.pictures.shapes import Shapes, shape
from model.autoencoder import VAE, vae_loss
from model.unet import UNet
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
    with pytest.raises(UserError, match="found -"):
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
