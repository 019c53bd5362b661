"""export.py: files that other programs load, which give what the model gives, or are not there."""

import json
import shutil

import pytest
import torch
from torch.utils.data import Dataset

import export
from base import DATASETS, LOSSES, MODELS, BaseModel
from commands.exported_file import difference
from model.initial_weights import weights_of
from tests.forks import forked
from tests.running import PICTURES, state_of, train
from utils.checkpoint import read_plain

NORMALIZE = "dataset.batch_transforms.eval=[{type: Normalize, args: {mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4]}}]"
SHORT = ("trainer.epochs=null", "trainer.max_steps=2", "trainer.loggers=[]")


@MODELS.register
class Noisy(BaseModel):
    """One that gives other numbers each time."""

    def __init__(self, out_features: int):
        super().__init__()
        self.layer = torch.nn.LazyLinear(out_features)

    def forward(self, inputs):
        return self.layer(inputs + torch.randn_like(inputs))


@MODELS.register
class Tracing(BaseModel):
    """One that does something else where it is made a program of."""

    def __init__(self, out_features: int):
        super().__init__()
        self.layer = torch.nn.LazyLinear(out_features)

    def forward(self, inputs):
        return self.layer(inputs + torch.compiler.is_exporting())


@MODELS.register
class Deciding(BaseModel):
    """One that looks at its numbers to decide."""

    def __init__(self, out_features: int):
        super().__init__()
        self.layer = torch.nn.LazyLinear(out_features)

    def forward(self, inputs):
        return self.layer(inputs) if inputs.sum() > 0 else self.layer(-inputs)


@MODELS.register
class Squeezing(BaseModel):
    """One whose output for a single sample has lost the batch; or, first, a number for the whole batch."""

    def __init__(self, out_features: int, squeezes: bool = True):
        super().__init__()
        self.layer, self.squeezes = torch.nn.LazyLinear(out_features), squeezes

    def forward(self, inputs):
        scores = self.layer(inputs)
        return scores.squeeze() if self.squeezes else {"penalty": scores.square().mean(), "scores": scores}


@DATASETS.register
class Sentences(Dataset):
    """Named inputs, padded to the longest of a batch."""

    classes = ("odd", "even")

    def __init__(self, split: str):
        self.lengths = [*range(3, 43)]

    def __len__(self):
        return 40

    def __getitem__(self, i):
        return torch.arange(self.lengths[i]) % 9, i % 2

    def collate(self, samples):
        words, targets = zip(*samples, strict=True)
        lengths = torch.tensor([len(each) for each in words])
        words = torch.nn.utils.rnn.pad_sequence(words, batch_first=True)
        return {"words": words, "lengths": lengths, "target": torch.tensor(targets)}


@MODELS.register
class MeanOfWords(BaseModel):
    def __init__(self, num_classes: int):
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 4)
        self.head = torch.nn.Linear(4, num_classes)

    def forward(self, words, lengths):
        is_word = torch.arange(words.shape[1], device=words.device) < lengths[:, None]
        return {"lengths": lengths, "scores": self.head((self.embedding(words) * is_word[:, :, None]).mean(dim=1))}


@LOSSES.register
def of_scores(output, target):
    return torch.nn.functional.cross_entropy(output["scores"], target)


def run_export(run, *arguments: str, code: int = 0) -> None:
    assert export.main(["-r", str(run), *arguments]) == code


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Of pictures in uint8, in bf16 and with averaged weights."""
    more = ("dataset.args.dtype=uint8", "trainer.ema_decay=0.5", "trainer.precision=bf16", NORMALIZE)
    return train(tmp_path_factory.mktemp("export"), *PICTURES, *SHORT, *more)


@pytest.fixture
def alone(run, tmp_path, monkeypatch):
    """A checkpoint of that run alone in an empty folder, which is the one that commands run in."""
    shutil.copy((run / "checkpoints/last.pt").resolve(), tmp_path / "net.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "net.pt"


LOAD = """
import json, sys, torch
extra = {"metadata.json": ""}
program = torch.export.load("net.pt2", extra_files=extra)
about = json.loads(extra["metadata.json"])
pictures = torch.load("pictures.pt", weights_only=True)
outputs = [program.module()(pictures[:size]) for size in (1, 7, 64)]
assert not {"commands", "model", "base"} & set(sys.modules)
torch.save([about["classes"], about["inputs"], outputs], "outputs.pt")
"""


def expected(checkpoint, pictures) -> torch.Tensor:
    """What the averaged weights make of pictures in uint8, by hand."""
    model = MODELS.build("LeNet", {"num_classes": 3, "in_channels": 3})
    model.load_state_dict(weights_of(read_plain(checkpoint)))
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    with torch.no_grad():
        return model.eval()((pictures / 255 - mean) / std)


PIXELS = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_pt2_is_loaded_without_this_code(alone, capsys):
    run_export(alone, "--format", "pt2", "--with-preprocessing")
    assert "takes pictures uint8 (batch, 3, 8, 8)" in capsys.readouterr().out
    torch.save(PIXELS, "pictures.pt")
    forked("-c", LOAD, folder=alone.parent)
    classes, inputs, outputs = torch.load("outputs.pt", weights_only=True)
    assert classes == ["0", "1", "2"] and inputs[0]["shape"] == ["batch", 3, 8, 8]
    for output in outputs:
        torch.testing.assert_close(output, expected(alone, PIXELS[: len(output)]), rtol=0, atol=1e-5)
    assert sorted(path.name for path in alone.parent.glob("net*")) == ["net.pt", "net.pt2"]


def test_onnx(alone, capsys):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    run_export(alone, "--format", "onnx")
    assert "before the file: Normalize(mean=[0.4, 0.5, 0.6]" in capsys.readouterr().out
    session = runtime.InferenceSession("net.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["0", "1", "2"] and about["task"] == "classification"
    assert json.loads(about["normalisation"])[0]["args"]["std"] == [0.2, 0.3, 0.4]
    assert [(each.name, each.shape) for each in session.get_inputs()] == [("pictures", ["batch", 3, 8, 8])]
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    for size in (1, 7, 64):
        (output,) = session.run(None, {"pictures": ((PIXELS[:size] / 255 - mean) / std).numpy()})
        torch.testing.assert_close(torch.tensor(output), expected(alone, PIXELS[:size]), rtol=0, atol=1e-5)


def test_plain_weights_are_the_averaged_ones(run, capsys):
    run_export(run, "--format", "plain")
    assert "averaged weights" in capsys.readouterr().out
    weights, state = read_plain(run / "weights.pt"), state_of(run)
    assert all(torch.equal(weights[name], tensor) for name, tensor in state["ema"]["model"].items())
    assert not all(torch.equal(weights[name], tensor) for name, tensor in state["model"].items())
    train(run.parents[2], *PICTURES, *SHORT, f"trainer.init_from={run / 'weights.pt'}")


TABLE = "dataset={type: TabularCSV, args: {path: 'scikit-learn:diabetes', target: target, task: regression, "


def test_a_regression_gives_the_tables_own_unit_also_without_data(tmp_path, monkeypatch, capsys):
    """Standardised numbers would look plausible, too."""
    more = ("model=LinearRegression", "loss=MSELoss")
    run = train(tmp_path, TABLE + "standardise_target: true}}", *more, *SHORT)
    run_export(run, "--format", "pt2")
    assert "compared on 47 samples of the test part" in capsys.readouterr().out
    program = torch.export.load(run / "model.pt2")
    assert program.module()(torch.zeros(3, 10)).mean() > 100  # the mean of the target is 152
    monkeypatch.setattr("commands.exporting.build_loader", gone)
    run_export(run, "--format", "pt2")
    assert "RANDOM inputs, as the data of the run cannot be read (the disk is away)" in capsys.readouterr().out
    again = torch.export.load(run / "model.pt2")
    inputs = torch.randn(5, 10)
    torch.testing.assert_close(again.module()(inputs), program.module()(inputs))


def gone(*_, **__):
    raise FileNotFoundError("the disk is away")


@pytest.mark.parametrize("file_format", ["pt2", "onnx"])
def test_named_inputs_of_any_length(file_format, tmp_path, monkeypatch, capsys):
    if file_format == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    more = ("dataset=Sentences", "model=MeanOfWords", "loss=of_scores", "data_loader.validation_split=8")
    run = train(tmp_path, *more, *SHORT)
    run_export(run, "--format", file_format)
    monkeypatch.setattr("commands.exporting.build_loader", gone)
    run_export(run, "--format", file_format)
    real, drawn = (part for part in capsys.readouterr().out.split("\n") if part.startswith("takes"))
    assert (
        real
        == drawn
        == (
            "takes words int64 (batch, any), lengths int64 (batch); gives output_lengths int64 (batch), "
            "scores float32 (batch, 2)"
        )
    )


def test_a_program_that_gives_something_else_is_not_written(tmp_path, capsys):
    run = train(tmp_path, "model=Tracing", *SHORT)
    run_export(run, "--format", "pt2", code=1)
    assert "does not give what the model gives: on 20 samples of the test part" in capsys.readouterr().err
    assert not [*run.glob("*.pt2"), *run.glob(".*.tmp")]


def test_a_model_that_draws_random_numbers_is_refused(tmp_path, capsys):
    run_export(train(tmp_path, "model=Noisy", *SHORT), "--format", "pt2", code=2)
    assert "Noisy draws random numbers in evaluation: nothing could tell" in capsys.readouterr().err


def test_a_model_of_which_there_is_no_program_is_refused(tmp_path, capsys):
    run = train(tmp_path, "model=Deciding", *SHORT)
    run_export(run, "--format", "pt2", code=2)
    error = capsys.readouterr().err
    assert "Deciding: no program can be made of it" in error and "tests/test_export.py:" in error


def test_outputs_that_are_not_rows_of_the_batch(tmp_path, capsys):
    run = train(tmp_path, "model=Squeezing", *SHORT)
    run_export(run, "--format", "pt2", code=2)
    assert "Squeezing gives (3,) and (20, 3) for batches of two sizes: a squeeze()" in capsys.readouterr().err
    run = train(tmp_path, "model={type: Squeezing, args: {squeezes: false}}", "loss=of_scores", *SHORT)
    run_export(run, "--format", "pt2")
    assert "gives penalty float32 (), scores float32 (batch, 3)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "torchscript"], "TorchScript is deprecated"),
        (["--format", "onx"], "did you mean 'onnx'?"),
        (["--format", "plain", "--with-preprocessing"], "plain weights do nothing to their inputs"),
        (["--format", "pt2", "metrics=[]"], "would change nothing in the file"),
        (["--format", "plain", "model.args.hidden=3"], "would change nothing in the file"),
    ],
)
def test_options_that_make_no_sense(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        export.main(["-r", "x", *arguments])
    assert caught.value.code == 2 and message in capsys.readouterr().err


def test_places_for_the_file(run, alone, capsys, monkeypatch):
    before = alone.read_bytes()
    for out in ("net.pt", "checkpoints/x.pt", "net.onnx"):
        run_export(alone, "--format", "plain", "--out", out, code=2)
    assert alone.read_bytes() == before and [path.name for path in alone.parent.iterdir()] == ["net.pt"]
    monkeypatch.setattr("commands.exported_file.PACKAGES", ("onnx", "no_such_package"))
    run_export(alone, "--format", "onnx", code=2)
    assert "needs no_such_package: pip install -r requirements-export.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("expected", "found", "gap"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.25),
        ([0.1, 0.2], [0.1, 0.3], 0.1),
        ([1e6, 0.0], [1e6 + 1, 0.0], 1e-6),
        ([1.0], [float("nan")], float("inf")),
        ([float("nan")], [float("nan")], 0.0),
        ([float("inf")], [float("inf")], 0.0),
        ([float("inf")], [1.0], float("inf")),
        ([1.0], [1.0, 1.0], float("inf")),
    ],
)
def test_differences(expected, found, gap):
    assert difference([torch.tensor(expected)], [torch.tensor(found)]) == pytest.approx(gap, rel=1e-3)
