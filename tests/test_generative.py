"""Models that make pictures: autoencoders and a GAN, what they measure, and what they refuse."""

import pytest
import torch
from torchvision.io import read_image

import predict
from model.autoencoder import Autoencoder, reconstruction_loss, squared_pixel_error
from model.dcgan import adversarial_loss, energy_score
from model.pixels import shares_of_white
from predict import load_model
from tests.make_data import write_mnist
from tests.running import assert_same_end, evaluate, resume, rows, state_of, train
from utils.seeding import seed_everything

ROOT = "dataset={{type: MNIST, args: {{root: {folder}}}}}"
AUTOENCODER = (
    *("model={type: Autoencoder, args: {hidden: 32, latent: 4}}", "loss=reconstruction_loss", "--batch-size", "16"),
    *("optimizer={type: Adam, args: {lr: 5e-3}}", "metrics=[squared_pixel_error]", "trainer.save_every=4 steps"),
    *("data_loader.validation_split=0.1", "trainer.monitor=min val_loss", "trainer.keep_last=99"),
)
GAN = (
    *("model={type: DCGAN, args: {width: 4, latent: 8}}", "loss=adversarial_loss", "metrics=[energy_score]"),
    *("trainer.type=AdversarialTrainer", "trainer.ema_decay=0.5", "--batch-size", "16", "trainer.keep_last=99"),
    "optimizer={generator: {type: Adam, args: {lr: 2e-3}, params: 'generator.*'}, "
    "discriminator: {type: Adam, args: {lr: 2e-3}, params: 'discriminator.*'}}",
    *("data_loader.validation_split=0.1", "trainer.monitor=min val_energy_score", "trainer.save_every=4 steps"),
)


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mnist")
    write_mnist(folder, num_train=100)
    return ROOT.format(folder=folder)


def same_when_resumed_and_read_by_workers(folder, *config, step):
    """Train, and train again with two workers from a checkpoint: the same bits; returns the run."""
    run = train(folder, *config)
    other = train(folder, *config, "data_loader.num_workers=2", "--name", "other", "--epochs", "1")
    resume(other / f"checkpoints/step-{step:09d}.pt", "--epochs", "2", "data_loader.num_workers=0")
    assert_same_end(run, other)
    return run


def test_an_autoencoder_learns_and_goes_on_with_the_same_bits(mnist, tmp_path):
    run = same_when_resumed_and_read_by_workers(tmp_path, mnist, *AUTOENCODER, step=4)
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


@pytest.mark.parametrize("config", [AUTOENCODER, GAN], ids=["autoencoder", "gan"])
def test_pixels_that_are_no_shares_are_refused(config, mnist, tmp_path, capsys):
    normalized = "dataset.batch_transforms.train=[{type: Normalize, args: {mean: [0.13], std: [0.31]}}]"
    train(tmp_path, mnist, *config, normalized, code=2)
    error = capsys.readouterr().err
    assert "from -0.419 to 2.81: take Normalize" in error and not (tmp_path / "saved").exists()


def test_pixels_that_rounding_puts_outside_are_cut_off():
    """Means of white pixels, such as turned pictures are made of, may be 1.0000001."""
    pictures = shares_of_white(torch.tensor([-1e-6, 0.5, 1.0 + 2e-7]))
    assert pictures.tolist() == [0.0, 0.5, 1.0]


def test_the_losses_of_a_gan_are_computed_in_full_of_low_precision_outputs():
    torch.manual_seed(0)
    output = {name: torch.randn(50, 1).bfloat16() for name in ("real", "made")}
    in_full = adversarial_loss({name: logits.float() for name, logits in output.items()}, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert adversarial_loss(output, None) == in_full


def test_a_gan_trains_both_networks_and_goes_on_with_the_same_bits(mnist, tmp_path, capsys):
    run = same_when_resumed_and_read_by_workers(tmp_path, mnist, *GAN, step=4)
    first, last = state_of(run, 4)["model"], state_of(run)["model"]
    assert not any(torch.equal(weight, first[name]) for name, weight in last.items())
    assert rows(run)[-1].keys() >= {"loss", "generator_loss", "loss_real", "val_loss_made", "val_energy_score"}
    scores = evaluate(run)
    assert scores["intervals"].keys() == {"loss", "loss_real", "loss_made", "energy_score"}
    network = load_model(run).network
    averages = state_of(run, "best")["ema"]["model"]
    assert all(torch.equal(weight, averages[name]) for name, weight in network.state_dict().items())
    pictures = network.sample(3)
    assert pictures.shape == (3, 1, 28, 28) and pictures.min() >= 0 and pictures.max() <= 1
    assert torch.allclose(network.generator(codes := torch.randn(3, 8))[:1], network.generator(codes[:1]), atol=1e-6)


def test_pictures_are_made_by_predict(mnist, tmp_path, capsys):
    vae = ("model={type: VAE, args: {hidden: 16, latent: 3}}", "loss=vae_loss", "trainer.monitor=min val_loss")
    adam = ("optimizer={type: Adam, args: {lr: 1e-3}}", "data_loader.validation_split=0.1", "--epochs", "1")
    runs = {
        "gan": train(tmp_path, mnist, *GAN, "--epochs", "1", "--name", "gan"),
        "vae": train(tmp_path, mnist, *vae, *adam, "--name", "vae"),
    }
    for name, run in runs.items():
        for file, seed in (("one.png", "3"), ("same.png", "3"), ("other.png", "4")):
            path = str(tmp_path / name / file)
            assert predict.main(["-r", str(run), "--sample", "5", "--seed", seed, "--out", path]) == 0
        one, same, other = (read_image(str(tmp_path / name / file)) for file in ("one.png", "same.png", "other.png"))
        assert one.shape == (3, 62, 92) and torch.equal(one, same) and not torch.equal(one, other)  # rows of three
    network = load_model(runs["vae"]).network
    seed_everything("sample", 3)
    first = network.sample(5)[0].view(28, 28)
    assert torch.equal(read_image(str(tmp_path / "vae/one.png"))[0, 2:30, 2:30], (first * 255).round().to(torch.uint8))

    encoder = train(tmp_path, mnist, *AUTOENCODER, "--epochs", "1", "--name", "encoder")
    assert predict.main(["-r", str(encoder), "--sample", "5", "--out", "a.png"]) == 2
    assert "model Autoencoder makes no pictures: it has no `sample(number)`" in capsys.readouterr().err
    for arguments, message in (
        (["--out", "a.jpg"], "--sample: needs --out FILE.png"),
        (["--out", "a.png", "b.png"], "inputs: not together with --sample"),
        (["--out", "a.png", "--temperature", "1"], "--temperature: needs --prompt"),
        (["--out", "a.png", "--prompt", "a"], "--sample: not together with --prompt"),
    ):
        with pytest.raises(SystemExit, match="2"):
            predict.main(["-r", str(encoder), "--sample", "5", *arguments])
        assert message in capsys.readouterr().err


def test_when_a_gan_is_evaluated_changes_nothing(mnist, tmp_path):
    """Nor do the pictures that it shows then, which are drawn too."""
    keys = (mnist, *GAN, "--epochs", "1", "trainer.accumulate_steps=2")
    once, often = (
        train(tmp_path, *keys, f"trainer.eval_every={every}", "--name", name)
        for name, every in (("once", "end"), ("often", "1 steps"))
    )
    for name, weight in state_of(once)["model"].items():
        assert torch.equal(weight, state_of(often)["model"][name])


def test_a_generator_that_no_loss_would_train_is_told(mnist, tmp_path, capsys):
    train(tmp_path, mnist, *GAN, "trainer.type=Trainer", code=2)
    assert "optimizer.generator: the loss depends on none of its weights" in capsys.readouterr().err
    train(tmp_path, mnist, *GAN, "model.args.size=32", code=2)
    assert "model.args.size: found 32, and the pictures are 28x28" in capsys.readouterr().err
    assert not (tmp_path / "saved").exists()


def test_the_energy_score_is_least_for_pictures_of_the_same_kind():
    torch.manual_seed(0)
    real = torch.randn(400, 1, 4, 4)

    def score(made):
        sums, weights = energy_score({"pictures": real, "made_pictures": made.view(-1, 1, 4, 4)}, None)
        return (sums.sum() / weights.sum()).item()

    alike = torch.randn(400, 16)
    by_hand = sum((real[0].flatten() - each).norm() for each in alike) / 400
    assert score(alike) < min(score(1.5 * alike), score(0.7 * alike), score(alike + 0.5))
    between = torch.pdist(alike).mean()
    sums, _ = energy_score({"pictures": real, "made_pictures": alike.view(-1, 1, 4, 4)}, None)
    assert sums[0].item() == pytest.approx((by_hand - between / 2).item(), rel=1e-4)
    pictures = torch.rand(64, 1, 28, 28)  # of which none has a distance to itself
    exact = torch.cdist(pictures.double().flatten(1), pictures.double().flatten(1)).mean().item()
    sums, _ = energy_score({"pictures": pictures, "made_pictures": pictures}, None)
    assert sums.mean().item() == pytest.approx(exact * (1 - 64 / 63 / 2), rel=1e-6)
    sums, weights = energy_score({"pictures": real[:1], "made_pictures": real[:1]}, None)
    assert sums.item() == weights.item() == 0  # a single made picture has no other
