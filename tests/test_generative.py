"""Models that make pictures: autoencoders, and what their losses refuse."""

import pytest
import torch

from model.autoencoder import Autoencoder, reconstruction_loss, squared_pixel_error
from tests.make_data import write_mnist
from tests.running import assert_same_end, evaluate, resume, rows, train

ROOT = "dataset={{type: MNIST, args: {{root: {folder}}}}}"
AUTOENCODER = (
    *("model={type: Autoencoder, args: {hidden: 32, latent: 4}}", "loss=reconstruction_loss", "--batch-size", "16"),
    *("optimizer={type: Adam, args: {lr: 5e-3}}", "metrics=[squared_pixel_error]", "trainer.save_every=3 steps"),
    *("data_loader.validation_split=0.1", "trainer.monitor=min val_loss", "trainer.keep_last=99"),
)


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mnist")
    write_mnist(folder)
    return ROOT.format(folder=folder)


def same_when_resumed_and_read_by_workers(folder, *config, step):
    """Train, and train again with two workers from a checkpoint: the same bits; returns the run."""
    run = train(folder, *config)
    other = train(folder, *config, "data_loader.num_workers=2", "--name", "other", "--epochs", "1")
    resume(other / f"checkpoints/step-{step:09d}.pt", "--epochs", "2", "data_loader.num_workers=0")
    assert_same_end(run, other)
    return run


def test_an_autoencoder_learns_and_goes_on_with_the_same_bits(mnist, tmp_path):
    run = same_when_resumed_and_read_by_workers(tmp_path, mnist, *AUTOENCODER, step=6)
    first, last = rows(run)
    assert last["val_squared_pixel_error"] < first["val_squared_pixel_error"]
    assert evaluate(run)["intervals"].keys() == {"loss", "squared_pixel_error"}


def test_the_losses_of_an_autoencoder():
    net, pictures = Autoencoder(in_features=16, hidden=8, latent=3), torch.rand(5, 1, 4, 4)
    output = net(pictures)
    codes = net.encoder(pictures)
    made = net.decoder(codes).sigmoid()
    assert codes.shape == (5, 3) and torch.equal(made, output["logits"].sigmoid())
    entropy = torch.nn.functional.binary_cross_entropy(made, pictures.flatten(1), reduction="sum") / 5
    assert reconstruction_loss(output, None).item() == pytest.approx(entropy.item(), rel=1e-4)
    squared = (made - pictures.flatten(1)).square().mean(dim=1)
    assert torch.allclose(squared_pixel_error(output, None), squared)


def test_pixels_that_are_no_shares_are_refused(mnist, tmp_path, capsys):
    normalized = "dataset.batch_transforms.train=[{type: Normalize, args: {mean: [0.13], std: [0.31]}}]"
    train(tmp_path, mnist, *AUTOENCODER, normalized, code=2)
    error = capsys.readouterr().err
    assert "found -0.419 to 2.81: take Normalize" in error and not (tmp_path / "saved").exists()
