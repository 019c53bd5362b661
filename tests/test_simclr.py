"""Learning without labels: the loss by hand, a run, what a classifier starts from, and what gives no lesson."""

import pytest
import torch
import torch.nn.functional as F

import export
from data_loader.batch_transforms import TwoViews
from model.simclr import SimCLR, finds_other_view, nt_xent_loss
from tests.running import assert_same_end, evaluate, resume, rows, state_of, train
from utils.errors import UserError

NOISE = "{type: RandomCrop, args: {padding: 2}}"
VIEWS = f"dataset.batch_transforms={{train: [TwoViews, {NOISE}], eval: [TwoViews, {NOISE}]}}"
PICTURES = "dataset={type: Synthetic, args: {shape: [3, 12, 12], size: 40, valid_size: 17, test_size: 20}}"
CONFIG = (
    *(PICTURES, VIEWS, "--batch-size", "8", "model={type: SimCLR, args: {width: 4, projection: 6}}"),
    *("loss=nt_xent_loss", "metrics=[finds_other_view]", "trainer.monitor=min val_loss", "trainer.keep_last=99"),
    *("optimizer={type: Adam, args: {lr: 3e-3}}", "trainer.save_every=3 steps"),
)


def test_the_loss_is_that_of_the_paper():
    torch.manual_seed(0)
    output = torch.randn(5, 2, 3)
    views = [(i, output[i, view]) for view in range(2) for i in range(5)]
    losses = []
    for place, (i, view) in enumerate(views):
        others = [each for other, each in enumerate(views) if other != place]
        alike = torch.stack([(F.cosine_similarity(view, each, dim=0) / 0.2).exp() for _, each in others])
        (same,) = (alike[k] for k, (j, _) in enumerate(others) if j == i)
        losses.append(-(same / alike.sum()).log())
    total, weight = nt_xent_loss(output, None, torch.arange(5), True, temperature=0.2)
    assert weight == 5 and (total / weight).item() == pytest.approx((sum(losses) / 10).item(), rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):  # in which cosines would be rounded to three digits
        assert torch.equal(nt_xent_loss(output, None, torch.arange(5), True, temperature=0.2)[0], total)


def test_the_metric_counts_the_views_whose_nearest_is_of_the_same_picture():
    output = torch.tensor([[[1.0, 0.0], [2.0, 0.1]], [[0.0, 1.0], [0.9, 0.3]], [[-1.0, 0.0], [-3.0, 0.0]]])
    found, counted = finds_other_view(output, None)
    assert found.tolist() == [1.0, 0.5, 1.0] and counted.tolist() == [1.0, 1.0, 1.0]
    alone, counted = finds_other_view(output[:1], None)
    assert alone.tolist() == counted.tolist() == [0.0]


def test_views_stay_with_their_pictures():
    net, pictures = SimCLR(width=4, projection=6).eval(), torch.rand(5, 3, 12, 12)
    views = TwoViews()(pictures)
    views[7] += 1  # the second of picture 2
    output = net(views)
    assert output.shape == (5, 2, 6)
    is_same = torch.isclose(output[:, 0], output[:, 1], atol=1e-6).all(dim=1)
    assert is_same.tolist() == [True, True, False, True, True]


def test_it_learns_and_gives_a_classifier_all_but_its_head(tmp_path, capsys, caplog):
    run = train(tmp_path, *CONFIG, "--epochs", "4")
    assert rows(run)[-1]["val_loss"] < rows(run)[0]["val_loss"]
    other = train(tmp_path, *CONFIG, "--epochs", "1", "data_loader.num_workers=2", "--name", "other")
    resume(other / "checkpoints/step-000000003.pt", "--epochs", "4", "data_loader.num_workers=0")
    assert_same_end(run, other)
    scores = evaluate(run)
    assert scores["loss"] > 0 and "finds_other_view" in scores["intervals"]
    told = (
        "nt_xent_loss and finds_other_view compare the samples of a batch with each other: batches have 4 samples here"
    )
    for batch_size, is_told in (("4", True), ("8", False)):
        capsys.readouterr()
        evaluate(run, f"data_loader.batch_size={batch_size}")
        assert (told in "".join(capsys.readouterr())) == is_told
    assert export.main(["-r", str(run), "--format", "pt2"]) == 2
    assert "SimCLR compares views of a picture, and answers none" in capsys.readouterr().err

    head = (PICTURES, "model={type: SmallResNet, args: {width: 4}}", "--name", "labels")
    capsys.readouterr()
    tuned = train(tmp_path, *head, f"trainer.init_from={run}", "optimizer.args.lr=0.0", "--epochs", "1")
    told = "48 of 49 tensors loaded; 1 missing there: classifier.weight; 4 unexpected: projection.0.weight"
    assert told in capsys.readouterr().out
    pretrained, weights = state_of(run, "best")["model"], state_of(tuned)["model"]
    same = {name for name in weights if name in pretrained and torch.equal(weights[name], pretrained[name])}
    assert {name for name, _ in SimCLR(width=4).named_parameters() if "projection" not in name} <= same

    lot, freeze = (
        "tensors stay as they were drawn, unless the model itself loads them: stem.",
        "trainer.freeze=[stem.*]",
    )
    train(tmp_path, *head, freeze, f"trainer.init_from={run}", "--epochs", "1")
    assert lot not in caplog.text
    train(tmp_path, *head, freeze, "--epochs", "1")
    assert f"trainer.freeze: 3 {lot}" in caplog.text

    normal = "dataset.batch_transforms.eval=[{type: Normalize, args: {mean: [0.5], std: [0.2]}}]"
    assert "warning" not in capsys.readouterr().out
    train(tmp_path, *head, f"trainer.init_from={run}", "--epochs", "1", normal)
    told = "through no Normalize or LogMel or MFCC; here they go through Normalize(mean=[0.5], std=[0.2])"
    assert f"warning: there, inputs went {told}" in capsys.readouterr().out


def test_a_picture_alone_counts_nowhere():
    """The last of an evaluation: with nothing to tell it from its loss would be 0."""
    total, weight = nt_xent_loss(torch.randn(1, 2, 3), None, torch.arange(1), False)
    assert total == weight == 0
    with pytest.raises(UserError, match="a batch of one picture has no others"):
        nt_xent_loss(torch.randn(1, 2, 3), None, torch.arange(1), True)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            (VIEWS.replace(NOISE, ""),),
            "batch_transforms.train: both views of each picture are the same: after TwoViews",
        ),
        ((VIEWS.replace(f"{NOISE}], eval", f"{NOISE}, MixUp], eval"),), "4 pictures have 2 targets, as after TwoViews"),
        ((VIEWS.replace(f"eval: [TwoViews, {NOISE}]", "eval: [TwoViews]"),), "batch_transforms.eval: both views of"),
        ((VIEWS.replace("eval: [TwoViews, ", "eval: ["),), "outputs (4, 2, 6) for 8 pictures, not two views of each"),
        (("dataset.batch_transforms={train: []}",), "TwoViews belongs into dataset.batch_transforms"),
        (("--batch-size", "1"), "a batch of one picture has no others to tell it from"),
    ],
)
def test_what_would_teach_nothing_is_refused(keys, message, tmp_path, capsys):
    train(tmp_path, *CONFIG, *keys, code=2)
    assert message in capsys.readouterr().err and not (tmp_path / "saved").exists()
