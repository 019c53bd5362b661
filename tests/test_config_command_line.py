"""The options of train.py and test.py, which other programs depend on, and how soon they answer."""

import subprocess
import sys
import time

import pytest

from config.command_line import parse_test_options, parse_train_options


def option_names(options, capsys):
    with pytest.raises(SystemExit) as caught:
        options(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    return text, {word.strip(",[]") for word in text.split("examples:")[0].split() if word.strip(",[]").startswith("-")}


def test_the_options_of_train_are_frozen(capsys):
    text, names = option_names(parse_train_options, capsys)
    assert names == {
        *("-h", "--help", "-c", "--config", "-r", "--resume", "-d", "--device", "--lr", "--batch-size", "--epochs"),
        *("--seed", "--name", "--dry-run", "--print-config", "--list", "--describe"),
    }
    assert "KEY=VALUE" in text and "python train.py -c config/digits.yaml" in text
    assert set(vars(parse_train_options(["-c", "x"]))) == {
        *("config", "overrides", "resume", "dry_run", "print_config", "list", "describe"),
    }


def test_the_options_of_test_are_frozen(capsys):
    text, names = option_names(parse_test_options, capsys)
    assert names == {"-h", "--help", "-r", "--resume", "--split", "--out"}
    assert "KEY=VALUE" in text and "python test.py -r" in text
    assert set(vars(parse_test_options(["-r", "x"]))) == {"resume", "overrides", "split", "out"}


def test_train_options():
    argv = "a=1 -c base.yaml --lr 3e-4 b={c:1} -c over.yaml -d cuda:0 --batch-size=8 d=2 --lr 1 --dry-run -r auto"
    options = parse_train_options(argv.split())
    assert options.config == ["base.yaml", "over.yaml"]
    assert options.overrides == ["a=1", "--lr 3e-4", "b={c:1}", "--device cuda:0", "--batch-size 8", "d=2", "--lr 1"]
    assert options.resume == "auto"
    assert options.dry_run and not options.print_config


@pytest.mark.parametrize(
    ("argv", "overrides"),
    [
        (["-dcpu"], ["--device cpu"]), (["--device=mps"], ["--device mps"]),
        (["--name", "two words"], ["--name two words"]), (["--seed", "1", "seed=2"], ["--seed 1", "seed=2"]),
        (["seed=2", "--seed", "1"], ["seed=2", "--seed 1"]), (["--lr", "-1", "--lr=-.5"], ["--lr -1", "--lr -.5"]),
        (["-d=cpu", "--name", ""], ["--device cpu", "--name "]), (["x=--lr", "--lr", "1"], ["x=--lr", "--lr 1"]),
        (["trainer.monitor=min val_loss", "a=b=c"], ["trainer.monitor=min val_loss", "a=b=c"]),
        (["name="], ["name="]),
    ],
)  # fmt: skip
def test_overrides_keep_the_order_in_which_they_were_typed(argv, overrides):
    assert parse_train_options(["-c", "x.yaml", *argv]).overrides == overrides


def test_list_and_describe():
    assert parse_train_options(["--list"]).list == "all"
    assert parse_train_options(["--list", "model"]).list == "model"
    assert parse_train_options(["--describe", "lr_scheduler.OneCycleLR"]).describe == "lr_scheduler.OneCycleLR"


def test_a_short_form_without_its_value_is_told(capsys):
    for argv in (["--lr"], ["--lr", "--epochs", "3"], ["--name", "-x"]):
        with pytest.raises(SystemExit):
            parse_train_options(["-c", "x.yaml", *argv])
        assert f"argument {argv[0]}: expected one argument" in capsys.readouterr().err


def test_test_options():
    options = parse_test_options(
        ["device=cpu", "-r", "saved/x/latest", "--split", "valid", "data_loader.batch_size=8", "--out", "here"]
    )
    assert (options.resume, options.split, options.out) == ("saved/x/latest", "valid", "here")
    assert options.overrides == ["device=cpu", "data_loader.batch_size=8"]
    assert parse_test_options(["-r", "x"]).split == "test"


def imported_by(code):
    """The modules that a fresh interpreter has imported after running some code."""
    code += "\nimport sys; print('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split("MODULES")[1].split())


def test_help_needs_nothing_heavy():
    code = "import config.command_line as c\ntry:\n    c.parse_train_options(['--help'])\nexcept SystemExit: pass"
    assert not {"torch", "numpy", "pydantic", "yaml"} & imported_by(code)


def test_a_misspelt_key_is_told_without_torch(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("sed: 1\n")
    code = (
        "from config.load import check_config, read_config\n"
        f"told = []\ntry: check_config(read_config([{str(path)!r}]), lambda: 1 / 0, told.append)\n"
        "except ZeroDivisionError: assert any('seed' in line for line in told)"
    )
    assert not {"torch", "numpy", "torchvision"} & imported_by(code)


def test_each_problem_is_shown_as_soon_as_it_is_found():
    """The first line of a misspelt key comes long before torch is imported, and no line comes twice."""
    command = [sys.executable, "train.py", "-c", "config/digits.yaml", "trainer.epoch=5", "model.type=LeNett"]
    start = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        first = process.stderr.readline()
        first_after = time.perf_counter() - start
        (second,) = process.stderr.readlines()
        assert process.wait() == 2
    assert "trainer.epoch: unknown key" in first and "model.type: found 'LeNett'" in second
    assert first_after < (time.perf_counter() - start) / 2
