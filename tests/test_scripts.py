"""train.py without training: --dry-run, --print-config, --list, --describe."""

import os
import re
from typing import List, Optional  # noqa: UP035

import pytest

from base import DATASETS, MODELS, REGISTRIES, BaseModel
from base.catalog import describe_component
from config.load import check_config, read_config
from config.yaml_writer import write_annotated
from script import load_registries
from tests.running import TINY, train
from train import main


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The working directory, with tiny.yaml in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def test_a_dry_run_takes_a_step_and_writes_nothing(tiny, capsys):
    assert main(["-c", "tiny.yaml", "--dry-run", "metrics=[accuracy]", "trainer.tensorboard=true"]) == 0
    assert [*tiny.rglob("*")] == [tiny / "tiny.yaml"]
    out = capsys.readouterr().out
    assert "layers.0  Linear" in out and "99 parameters, 99 of them trainable" in out
    scores = dict(re.findall(r"^(\w+): ([\d.e-]+)$", out, re.MULTILINE))
    assert [*scores] == ["loss", "accuracy", "val_loss", "val_accuracy"]


def test_a_dry_run_finds_what_only_data_can_tell(tmp_path, capsys):
    train(tmp_path, "--dry-run", "data_loader={batch_size: 41, drop_last: true}", code=2)
    assert "less than one batch of 41" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("-r", "auto")])
@pytest.mark.parametrize(("save_dir", "obstacle"), [("file", "file"), ("file/below/it", "file"), ("ok", "ok/tiny")])
def test_a_save_dir_that_cannot_be_one_is_told_before_the_data_are_read(
    save_dir, obstacle, more, tiny, monkeypatch, capsys
):
    (tiny / "ok").mkdir()
    for name in ("file", "ok/tiny"):
        (tiny / name).write_text("here before")
    before = {*tiny.rglob("*")}
    monkeypatch.setitem(DATASETS._own, "never_read", lambda split: pytest.fail("the data were read"))
    assert main(["-c", "tiny.yaml", "dataset=never_read", f"trainer.save_dir={save_dir}", *more]) == 2
    assert capsys.readouterr().err == (
        f"trainer.save_dir={save_dir}: trainer.save_dir: found '{save_dir}' (text), but {obstacle} is not a folder; "
        "expected a folder to write in, or the path of a new one\n"
    )
    assert {*tiny.rglob("*")} == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_save_dir_that_cannot_be_written_to(tmp_path, capsys):
    tmp_path.joinpath("saved").mkdir(mode=0o555)
    train(tmp_path, code=2)
    assert "trainer.save_dir: found " in (told := capsys.readouterr().err)
    assert f"but {tmp_path / 'saved'} cannot be written to; expected a folder to write in" in told


def test_print_config_is_a_config_with_the_origin_of_every_value(tiny, capsys):
    (tiny / "over.yaml").write_text("optimizer: {args: {lr: 0.5}}\n")
    files = ["-c", "tiny.yaml", "-c", "over.yaml"]
    assert main([*files, "--epochs", "7", "data_loader.batch_size=4", "--print-config"]) == 0
    document = read_config(files[1::2], ["--epochs 7", "data_loader.batch_size=4"])
    assert capsys.readouterr().out == write_annotated(check_config(document).model_dump(), document.origins)
    assert not (tiny / "saved").exists()


def test_list_shows_every_kind_with_its_number(capsys):
    assert main(["--list"]) == 0
    shown = re.findall(r"^(\w+) \((\d+)\)$", capsys.readouterr().out, re.MULTILINE)
    assert {*shown} == {(kind, str(len(registry.names()))) for kind, registry in REGISTRIES.items()}
    least = {"optimizer": 12, "lr_scheduler": 14, "loss": 18, "model": 80, "dataset": 50, "metric": 60, "transform": 40,
             "batch_transform": 40, "lr_lambda": 2, "order": 5, "trainer": 1, "logger": 1}  # fmt: skip
    assert all(int(number) >= least[kind] for kind, number in shown)


@pytest.mark.parametrize("kind", ["model", "models"])
def test_list_of_one_kind_begins_with_ones_own(kind, capsys):
    assert main(["--list", kind]) == 0
    own, library = capsys.readouterr().out.split("library:")
    assert own.startswith("model (") and "LeNet" in own and "SmallResNet" in own and "resnet18" in library
    assert "CrossEntropyLoss" not in own + library


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("optimizer.AdamW", [r"lr: a number \(default 0\.001\)",
         r"betas: a list of 2 numbers \(default \[0\.9, 0\.999\]\)", r"foreach: true or false or null .*"]),
        ("transform.RandomCrop", [r"size: a whole number or a list of whole numbers \(required\)",
         r"padding_mode: 'constant', 'edge', .*"]),
        ("transform.AutoAugment", [r"policy: one of IMAGENET, CIFAR10, SVHN \(default imagenet\)"]),
        ("model.resnet18", [r"norm_layer: Callable .+ or null \(default null\)"]),
        ("model.LeNet", [r"num_classes: a whole number >= 1 \(default 10\)"]),
        ("lr_scheduler.StepLR", [r"step_size: a whole number >= 1 \(required\)"]),
        ("loss.cross_entropy", [r"label_smoothing: a number >= 0 and <= 1 \(default 0\.0\)"]),
    ],
)  # fmt: skip
def test_describe_shows_arguments_and_the_docstring(name, shown, capsys):
    assert main(["--describe", name]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{name}\n") and (name != "model.LeNet" or "Two convolutions with pooling" in out)
    for pattern in shown:
        assert re.search(f"^  {pattern}$", out, re.MULTILINE), pattern
    assert not re.search(r"^  (params|optimizer|output|input)\b", out, re.MULTILINE)  # what the program passes


def test_describe_shows_no_docstring_of_a_base_class(capsys, monkeypatch):
    class WithoutDocstring(BaseModel):
        def __init__(self, size: Optional[int] = None, names: List[str] = ()):  # noqa: UP006, UP045 - as in libraries
            super().__init__()

    monkeypatch.setitem(MODELS._own, "WithoutDocstring", WithoutDocstring)
    assert main(["--describe", "models.WithoutDocstring"]) == 0
    size, names = capsys.readouterr().out.removeprefix("model.WithoutDocstring\n\n").splitlines()
    assert size == "  size: a whole number or null (default null)"
    assert names == "  names: a list (text each) (default [])"


def test_describe_writes_no_type_as_python_prints_it(capsys):
    for kind, registry in load_registries().items():
        for name in registry.names():
            text = describe_component(f"{kind}.{name}").split("\n\n")[-1]
            assert not re.search(r"typing\.|Optional\[|Union\[|<class|<function|NoneType|ForwardRef", text), text


def test_describe_of_what_is_not_there(capsys):
    assert main(["--describe", "model.LeNett"]) == 2
    assert capsys.readouterr().err == "--describe model.LeNett: there is no model 'LeNett'; did you mean 'LeNet'?\n"


def test_a_dry_run_of_a_run_tries_its_own_weights_and_leaves_it_as_it_is(tmp_path, capsys):
    run = train(tmp_path, "--epochs", "20")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    losses = []
    for arguments in (["-r", str(run)], ["-c", str(run / "config.yaml")]):
        capsys.readouterr()
        assert main([*arguments, "--dry-run"]) == 0
        losses.append(float(re.search(r"\nloss: (\S+)", capsys.readouterr().out)[1]))
    assert losses[0] < losses[1]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
