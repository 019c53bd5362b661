"""The options of the scripts, which other programs depend on, and how soon they answer."""

import re
import time

import pytest

from config.command_line import parse_test_options, parse_train_options
from config.command_options import (
    parse_export_options,
    parse_predict_options,
    parse_runs_options,
    parse_sweep_options,
)
from tests.process import python, start_python

TRAIN_OPTIONS = """
    -h --help -c --config -r --resume -d --device --lr --batch-size --epochs --seed --name --overfit --limit-batches
    --dry-run --find-lr --profile --print-config --list --describe
"""
PREDICT_OPTIONS = """
    -h --help -r --resume --out --format --top --resize --prompt --length --temperature --top-k --sample --seed
"""


@pytest.mark.parametrize(
    ("parse", "names", "example"),
    [
        (parse_train_options, TRAIN_OPTIONS, "python train.py -c config/digits.yaml"),
        (parse_test_options, "-h --help -r --resume --split --out --no-report", "python test.py -r"),
        (parse_runs_options, "-h --help --filter --sort --json -o --out --yes --save-dir", "python runs.py diff"),
        (parse_predict_options, PREDICT_OPTIONS, "python predict.py -r"),
        (parse_sweep_options, "-h --help -c --config --folds --seeds --trials --space --jobs", "python sweep.py -c"),
        (parse_export_options, "-h --help -r --resume --format --with-preprocessing --out", "python export.py -r"),
    ],
)
def test_the_options_are_frozen(parse, names, example, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    words = {word.strip(",[]:") for word in text.split("examples:")[0].split()}
    assert {word for word in words if word.startswith("-")} == {*names.split()}
    assert "KEY=VALUE" in text and example in text


def test_train_options():
    argv = "a=1 -c base.yaml --lr 3e-4 b={c:1} -c over.yaml -d cuda:0 --batch-size=8 d=2 --lr 1 --dry-run -r auto"
    overrides = ["a=1", "--lr 3e-4", "b={c:1}", "--device cuda:0", "--batch-size 8", "d=2", "--lr 1"]
    assert vars(parse_train_options(argv.split())) == {
        **dict(config=["base.yaml", "over.yaml"], overrides=overrides, resume="auto", dry_run=True),
        **dict(print_config=False, list=None, describe=None, find_lr=False, profile=False, leaves_no_run=True),
    }
    assert parse_train_options(["--list"]).list == "all"
    assert parse_train_options(["--list", "model"]).list == "model"
    assert parse_train_options(["--describe", "lr_scheduler.OneCycleLR"]).describe == "lr_scheduler.OneCycleLR"


def test_test_options():
    argv = "device=cpu -r saved/x/latest --split valid data_loader.batch_size=8 --out here"
    overrides = ["device=cpu", "data_loader.batch_size=8"]
    expected = dict(resume="saved/x/latest", overrides=overrides, split="valid", out="here", no_report=False)
    assert vars(parse_test_options(argv.split())) == expected
    assert parse_test_options(["-r", "x"]).split == "test"


def test_predict_options(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "size=8.png").touch()
    argv = "a.png -r x device=cpu size=8.png --top 3 - *.csv dataset.args.delimiter=;"
    options = parse_predict_options(argv.split())
    assert options.inputs == ["a.png", "size=8.png", "-", "*.csv"]
    assert options.overrides == ["device=cpu", "dataset.args.delimiter=;"]
    assert (options.top, options.format, options.out, options.resize) == (3, "csv", None, None)
    for wrong, told in ((["--top", "0"], "found '0'"), (["--top", "x"], "found 'x'"), ([], "give inputs: files")):
        with pytest.raises(SystemExit, match="2"):
            parse_predict_options(["-r", "x", "device=cpu", *wrong])
        assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "overrides"),
    [
        (["-dcpu"], ["--device cpu"]), (["--device=mps"], ["--device mps"]),
        (["--name", "two words"], ["--name two words"]), (["--seed", "1", "seed=2"], ["--seed 1", "seed=2"]),
        (["seed=2", "--seed", "1"], ["seed=2", "--seed 1"]), (["--lr", "-1", "--lr=-.5"], ["--lr -1", "--lr -.5"]),
        (["-d=cpu", "--name=2"], ["--device cpu", "--name 2"]), (["x=--lr", "--lr", "1"], ["x=--lr", "--lr 1"]),
        (["trainer.monitor=min val_loss", "a=b=c"], ["trainer.monitor=min val_loss", "a=b=c"]),
        (["name="], ["name="]), (["--lr", "-1e-3", "--lr", "-.inf"], ["--lr -1e-3", "--lr -.inf"]),
    ],
)  # fmt: skip
def test_overrides_keep_the_order_in_which_they_were_typed(argv, overrides):
    assert parse_train_options(["-c", "x.yaml", *argv]).overrides == overrides


HELP = "import config.command_line as c\ntry: c.parse_train_options(['--help'])\nexcept SystemExit: pass"
MISSPELT_KEY = """
from config.load import check_config, read_config
told = []
try: check_config(read_config(['config/digits.yaml'], ['sed=1']), lambda: 1 / 0, told.append)
except ZeroDivisionError: assert 'seed' in told[0]
"""


@pytest.mark.parametrize(
    ("code", "heavy"),
    [(HELP, {"torch", "numpy", "pydantic", "yaml"}), (MISSPELT_KEY, {"torch", "numpy", "torchvision"})],
    ids=["help", "misspelt key"],
)
def test_what_is_told_without_importing_what_is_heavy(code, heavy):
    output = python("-c", f"{code}\nimport sys; print('MODULES', *sys.modules)").stdout
    assert not heavy & set(output.split("MODULES")[1].split())


@pytest.mark.parametrize("script", ["train.py", "test.py"])
@pytest.mark.parametrize("option", ["-c", "-r", "-d", "--name", "--lr", "--list", "--describe", "--out", "--split"])
def test_an_option_with_nothing_is_no_option_left_out(script, option, capsys):
    """As `-r "$RUN"` gives, where the variable is not set: it must start no new run."""
    parse, needed = (parse_train_options, "-c") if script == "train.py" else (parse_test_options, "-r")
    with pytest.raises(SystemExit, match="2"):
        parse([needed, "x", option, ""])
    told = capsys.readouterr().err
    assert re.search("found nothing; is a variable of the shell unset|invalid choice: ''|unknown option", told)


def test_each_problem_is_shown_as_soon_as_it_is_found():
    """The first line of a misspelt key comes long before torch is imported, and no line comes twice."""
    start = time.perf_counter()
    with start_python("train.py", "-c", "config/digits.yaml", "trainer.epoch=5", "model.type=LeNett") as process:
        first = process.stderr.readline()
        first_after = time.perf_counter() - start
        (second,) = process.stderr.readlines()
        assert process.wait() == 2
    assert "trainer.epoch: unknown key" in first and "model.type: found 'LeNett'" in second
    assert first_after < (time.perf_counter() - start) / 2
