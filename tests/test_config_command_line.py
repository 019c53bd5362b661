"""The options of train.py and test.py, which other programs depend on, and how soon they answer."""

import subprocess
import sys

import pytest

from config.command_line import KINDS, test_options, train_options

KIND_WANTED = f"expected one of: {', '.join(KINDS)}; did you mean"


def refused(options, argv, capsys):
    with pytest.raises(SystemExit) as caught:
        options(argv.split())
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[0]


def option_names(options, capsys):
    with pytest.raises(SystemExit) as caught:
        options(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    return text, {word.strip(",[]") for word in text.split("examples:")[0].split() if word.strip(",[]").startswith("-")}


def test_the_options_of_train_are_frozen(capsys):
    text, names = option_names(train_options, capsys)
    assert names == {
        *("-h", "--help", "-c", "--config", "-r", "--resume", "-d", "--device", "--lr", "--batch-size", "--epochs"),
        *("--seed", "--name", "--dry-run", "--print-config", "--list", "--describe"),
    }
    assert "KEY=VALUE" in text and "python train.py -c config/digits.yaml" in text
    assert set(vars(train_options(["-c", "x"]))) == {
        *("config", "overrides", "resume", "dry_run", "print_config", "list", "describe"),
    }


def test_the_options_of_test_are_frozen(capsys):
    text, names = option_names(test_options, capsys)
    assert names == {"-h", "--help", "-r", "--resume", "--split", "--out"}
    assert "KEY=VALUE" in text and "python test.py -r" in text
    assert set(vars(test_options(["-r", "x"]))) == {"resume", "overrides", "split", "out"}


def test_train_options():
    argv = "a=1 -c base.yaml --lr 3e-4 b={c:1} -c over.yaml -d cuda:0 --batch-size=8 d=2 --lr 1 --dry-run -r auto"
    options = train_options(argv.split())
    assert options.config == ["base.yaml", "over.yaml"]
    assert options.overrides == ["a=1", "--lr 3e-4", "b={c:1}", "--device cuda:0", "--batch-size 8", "d=2", "--lr 1"]
    assert options.resume == "auto"
    assert options.dry_run and not options.print_config


@pytest.mark.parametrize(
    ("argv", "overrides"),
    [
        (["-dcpu"], ["--device cpu"]),
        (["--device=mps"], ["--device mps"]),
        (["--name", "two words"], ["--name two words"]),
        (["--seed", "1", "seed=2"], ["--seed 1", "seed=2"]),
        (["seed=2", "--seed", "1"], ["seed=2", "--seed 1"]),
        (["x=--lr", "--lr", "1"], ["x=--lr", "--lr 1"]),
        (["trainer.monitor=min val_loss", "a=b=c"], ["trainer.monitor=min val_loss", "a=b=c"]),
        (["name="], ["name="]),
    ],
)
def test_overrides_keep_the_order_in_which_they_were_typed(argv, overrides):
    assert train_options(["-c", "x.yaml", *argv]).overrides == overrides


def test_list_and_describe():
    assert train_options(["--list"]).list == "all"
    assert train_options(["--list", "model"]).list == "model"
    assert train_options(["--describe", "lr_scheduler.OneCycleLR"]).describe == "lr_scheduler.OneCycleLR"


@pytest.mark.parametrize("kind", KINDS)
def test_plurals_of_kinds_are_understood(kind):
    plural = {"loss": "losses"}.get(kind, f"{kind}s")
    assert train_options(["--list", plural]).list == train_options(["--list", kind]).list == kind
    assert train_options(["--describe", f"{plural}.X.y"]).describe == f"{kind}.X.y"


def test_test_options():
    options = test_options(
        ["device=cpu", "-r", "saved/x/latest", "--split", "valid", "data_loader.batch_size=8", "--out", "here"]
    )
    assert (options.resume, options.split, options.out) == ("saved/x/latest", "valid", "here")
    assert options.overrides == ["device=cpu", "data_loader.batch_size=8"]
    assert test_options(["-r", "x"]).split == "test"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("", "train.py: give a config, such as -c config/digits.yaml, or a run to resume with -r"),
        ("seed=1", "train.py: give a config, such as -c config/digits.yaml, or a run to resume with -r"),
        ("-c x --epohcs 3", "train.py: unknown option --epohcs; did you mean '--epochs'?"),
        ("-c x --epoch=3", "train.py: unknown option --epoch=3; did you mean '--epochs'?"),
        ("-c x --resum auto", "train.py: unknown option --resum; did you mean '--resume'?"),
        ("-c x --zzz", "train.py: unknown option --zzz"),
        (
            "config/x.yaml",
            "train.py: 'config/x.yaml' is not KEY=VALUE; a config file is given with -c: -c config/x.yaml",
        ),
        (
            "-c x saved/run",
            "train.py: 'saved/run' is not KEY=VALUE; a run or checkpoint is given with -r: -r saved/run",
        ),
        (
            "-c x lr 0.1",
            "train.py: 'lr' is not KEY=VALUE; write the key, '=' and the value without spaces between them: lr=VALUE",
        ),
        ("-c", "train.py: argument -c/--config: expected one argument"),
        ("-c x --lr", "train.py: argument --lr: expected one argument"),
        ("-r auto", "train.py: -r auto looks for a run of the config's name: give the config too, with -c"),
        (
            "--describe resnet18",
            "train.py: argument --describe: found 'resnet18'; expected KIND.NAME, such as model.resnet18; KIND: ",
        ),
        ("--describe modle.resnet18", f"train.py: argument --describe: found the kind 'modle'; {KIND_WANTED} 'model'?"),
        ("--list modles", f"train.py: argument --list: found the kind 'modles'; {KIND_WANTED} 'model'?"),
        ("--list xyz", f"train.py: argument --list: found the kind 'xyz'; expected one of: {', '.join(KINDS)}"),
    ],
)
def test_mistakes_on_the_command_line_of_train(argv, message, capsys):
    assert refused(train_options, argv, capsys).startswith(message)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("", "test.py: the following arguments are required: -r/--resume"),
        ("-r x --split tset", "test.py: argument --split: invalid choice: 'tset' (choose from"),
        ("-r x --splt test", "test.py: unknown option --splt; did you mean '--split'?"),
        ("-r x lr", "test.py: 'lr' is not KEY=VALUE;"),
        ("-r x --dry-run", "test.py: unknown option --dry-run"),
    ],
)
def test_mistakes_on_the_command_line_of_test(argv, message, capsys):
    assert refused(test_options, argv, capsys).startswith(message)


def imported_by(code):
    """The modules that a fresh interpreter has imported after running some code."""
    code += "\nimport sys; print('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split("MODULES")[1].split())


def test_help_needs_nothing_heavy():
    code = "from config.command_line import train_options\ntry:\n    train_options(['--help'])\nexcept SystemExit: pass"
    assert not {"torch", "numpy", "pydantic", "yaml"} & imported_by(code)


def test_a_misspelt_key_is_told_without_torch(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("sed: 1\n")
    code = (
        "from config.load import check_config, read_config\n"
        "from config.problems import ConfigError\n"
        f"try:\n    check_config(read_config([{str(path)!r}]))\n"
        "except ConfigError as error: assert 'seed' in str(error)"
    )
    assert not {"torch", "numpy", "torchvision"} & imported_by(code)
