"""runs.py: what it says of runs that are finished, running, killed or broken; and what it deletes."""

import json
import os
import shutil
from pathlib import Path

import pytest

import runs as runs_script
from commands.run_records import Reader
from config.command_options import parse_runs_options
from tests.process import python
from tests.running import recorded, resume, rows, state_of, status, steps_saved, train
from tests.test_run_logs import on_a_terminal
from tests.test_utils_logs import size_of
from utils.find_run import resolve_checkpoint
from utils.run_folder import RunFolder

BEST = ("trainer.monitor=min val_loss", "trainer.loggers=[Recorder]", "trainer.keep_last=3", "--epochs", "3")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Three runs of one name and one of another, which has evaluated in the midst of epochs."""
    folder = tmp_path_factory.mktemp("runs")
    for rate in ("0.1", "0.01", "1.0"):
        train(folder, *BEST, "--lr", rate)
    train(folder, *BEST, "--name", "often", "trainer.eval_every=2 steps", "--lr", "1.0")
    return folder / "saved"


@pytest.fixture
def saved(trained, tmp_path) -> Path:
    """A copy."""
    return Path(shutil.copytree(trained, tmp_path / "saved", symlinks=True))


def call(saved: Path, *arguments: str, code: int = 0) -> None:
    assert runs_script.main([*arguments, "--save-dir", str(saved)]) == code


def listed(saved: Path, capsys, *arguments: str) -> list[dict]:
    capsys.readouterr()
    call(saved, "list", "--json", *arguments)
    return json.loads(capsys.readouterr().out)


def test_the_best_is_the_one_that_training_saw(tmp_path, capsys):
    """metrics.csv has the ends of epochs alone, and loses one that is gone on with."""
    quiet = ("trainer.loggers=[]", "trainer.epochs=null")
    within = train(tmp_path, *quiet, "trainer.monitor=max loss", "trainer.eval_every=2 steps", "trainer.max_steps=9")
    longer = train(
        *(tmp_path, *quiet, "--name", "longer", "trainer.monitor=max val_loss", "trainer.eval_every=9 epochs"),
        "trainer.max_steps=8",
    )
    resume(longer, "trainer.max_steps=12")
    found = {run["name"]: run for run in listed(tmp_path / "saved", capsys)}
    best = {run: state_of(run, "best")["best"] for run in (within, longer)}
    assert best[longer]["step"] == found["longer"]["best"]["step"] == 8
    assert found["longer"]["best"]["value"] == pytest.approx(best[longer]["value"], rel=1e-5)
    assert best[within]["step"] == 4 and found["tiny"]["best"] is None  # where no training score is told


def test_the_list_says_what_each_run_came_to_and_where_configs_differ(trained, capsys):
    found = listed(trained, capsys)
    assert [run["differs"].get("optimizer.args.lr") for run in found] == [None, 0.1, 0.01, 1.0]
    assert not any(run["problems"] for run in found) and {run["status"] for run in found} == {"finished"}
    for run in found:
        path = Path(run["path"])
        scores = recorded(path, "val_loss")
        best = min(scores.values())
        assert run["best"]["value"] == pytest.approx(best, rel=1e-5) and run["best"]["mode"] == "min"
        assert f"step-{run['best']['step']:09d}.pt" == os.readlink(path / "checkpoints/best.pt")
        assert run["length"] == "3/3" and run["seconds"] == pytest.approx(sum(row["seconds"] for row in rows(path)))
        assert run["last"]["val_loss"] == rows(path)[-1]["val_loss"]
    often = found[0]
    assert often["name"] == "often" and often["best"]["step"] % 5, "the best lies in the midst of an epoch"

    call(trained)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["run", "status", "epochs", "best", "step", "time", "differs", "in"] and len(lines) == 5
    assert lines[2].split()[:3] == [f"tiny/{found[1]['id']}", "finished", "3/3"] and lines[2].endswith(" lr=0.1")


def test_runs_are_filtered_and_sorted(trained, capsys):
    by_best = [run["best"]["value"] for run in listed(trained, capsys, "--sort", "best")]
    assert by_best == sorted(by_best)
    by_rate = listed(trained, capsys, "--sort", "optimizer.args.lr", "--filter", "name=tiny")
    assert [run["differs"]["optimizer.args.lr"] for run in by_rate] == [0.01, 0.1, 1.0]
    assert len(listed(trained, capsys, "--filter", "optimizer.args.lr=1e0")) == 2  # a number is a number
    assert len(listed(trained, capsys, "--filter", "optimizer.args.lr=1e0", "--filter", "status=finished")) == 2
    call(trained, "--filter", "optimizer.args.lr=true", code=2)
    assert "holds no runs that --filter asks for" in capsys.readouterr().err
    call(trained, "--filter", "name=none", "--filter", "trainer.epochs=3", code=2)
    assert "holds no runs that --filter asks for" in capsys.readouterr().err
    call(trained, "--sort", "bst", code=2)
    assert "no run has the key 'bst'; did you mean 'best'?" in capsys.readouterr().err


def test_a_run_that_is_running_is_told_from_one_that_was_killed(saved, capsys):
    run = RunFolder(sorted((saved / "tiny").glob("2*"))[0])
    info = run.info()
    (run.path / "run.json").write_text(json.dumps({**info, "status": "running"}))
    text = (run.path / "metrics.csv").read_text()
    (run.path / "metrics.csv").write_text(text[:-9])  # it is about to write the rest
    run.lock()
    found = {each["path"]: each for each in listed(saved, capsys)}[str(run.path)]
    assert (found["status"], found["problems"], found["length"]) == ("running", [], "2/3")
    run.unlock()
    found = {each["path"]: each for each in listed(saved, capsys)}[str(run.path)]
    assert found["status"] == "interrupted" and found["problems"] == ["metrics.csv is damaged: a line is cut short"]


def test_a_look_at_a_run_keeps_nobody_from_it(saved):
    run, other = (RunFolder(saved / "tiny" / "latest") for _ in range(2))
    for _ in range(200):
        assert not run.is_in_use()
        other.acquire()
        assert run.is_in_use()
        other.unlock()


def test_what_is_broken_is_listed_as_broken(saved, capsys):
    whole = sorted((saved / "tiny").glob("2*"))[0]
    broken = {
        "20260101-000001": (lambda run: (run / "run.json").unlink(), "broken", ["no run.json"]),
        "20260101-000002": (lambda run: (run / "run.json").write_text('{"sta'), "broken", ["run.json is damaged"]),
        "20260101-000003": (lambda run: cut(run / "metrics.csv", 5), "finished", ["metrics.csv is damaged"]),
        "20260101-000004": (
            lambda run: (run / "metrics.csv").write_text("a\n1\n"),
            "finished",
            ["metrics.csv is"],
        ),
        "20260101-000005": (
            lambda run: (run / "config.yaml").write_text("a: [1"),
            "finished",
            ["config.yaml is"],
        ),
        "20260101-000006": (
            lambda run: (run / "config.yaml").write_bytes(b"\xff"),
            "finished",
            ["config.yaml is"],
        ),
        "20260101-000007": (lambda run: (run / "config.yaml").unlink(), "finished", ["no config.yaml"]),
        "20260101-000008": (shutil.rmtree, "broken", ["no run.json", "no config.yaml"]),
        "20260101-000009": (lambda run: change(run / "metrics.csv", "\n2,", "\n2,x"), "finished", ["metrics.csv is"]),
        "20260101-000010": (lambda run: change(run / "run.json", '"finished"', "null"), "broken", ["run.json is"]),
        "20260101-000011": (lambda run: change(run / "run.json", '"ended": ', '"ended": NaN, "x": '), "finished", []),
        "my_best_run": (lambda run: None, "finished", []),  # renamed
    }
    for name, (damage, _, _) in broken.items():
        path = Path(shutil.copytree(whole, saved / "tiny" / name, symlinks=True))
        damage(path)
        path.mkdir(exist_ok=True)
    (saved / "notes").mkdir()
    for name in ("pictures", "profile"):  # the latter is train.py's own
        (saved / "tiny" / name).mkdir()
    (saved / "readme.txt").write_text("")
    found = listed(saved, capsys)
    assert len(found) == 4 + len(broken)
    found = {run["id"]: run for run in found if run["name"] == "tiny"}
    for name, (_, its_status, problems) in broken.items():
        told = found[name]["problems"]
        assert found[name]["status"] == its_status and len(told) == len(problems), name
        assert all(text.startswith(problem) for text, problem in zip(told, problems, strict=True)), told
    call(saved)
    assert capsys.readouterr().out.splitlines()[-1] == f"not runs: {saved / 'notes'}, {saved / 'tiny' / 'pictures'}"


def test_what_may_not_be_read_ends_no_list(saved, capsys, monkeypatch):
    """Such as somebody else's runs in a folder that many share."""
    run = sorted((saved / "tiny").glob("2*"))[0]
    (saved / "locked").mkdir(mode=0)
    run.chmod(0)
    monkeypatch.chdir(saved)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(65534)
        call(Path("."))
    finally:
        if is_root:
            os.seteuid(0)
        run.chmod(0o755)
    lines = capsys.readouterr().out.splitlines()
    (told,) = [line for line in lines if run.name in line.split()]  # another may be called so, with a suffix
    assert "broken" in told and "Permission denied" in told
    assert len(lines) == 6 and lines[-1] == "not runs: locked"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def cut(path: Path, num_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:-num_bytes])


def test_a_config_reads_the_same_however_it_is_written():
    flat = Reader().flat
    written = "name: x\ntrainer:\n  monitor: min val_loss\n  epochs: 3\nlist:\n- type: a\n  args: {}\n- 5\n"
    assert flat(written) == {
        "name": "x", "trainer.monitor": "min val_loss", "trainer.epochs": "3",
        "list.0.type": "a", "list.0.args": "{}", "list.1": "5",
    }  # fmt: skip
    by_hand = "# mine\nname:   x\ntrainer: {monitor: min\n   val_loss, epochs: 3}\nlist: [{type: a, args: {}}, 5]\n"
    assert flat(by_hand) == flat(written)


def test_values_of_a_config_are_compared_as_data(saved, capsys):
    """Not as YAML writes them: quotes, spaces in lists, numbers; what is nan or null has no place in an order."""
    first, second, third = sorted((saved / "tiny").glob("2*"))
    change(first / "config.yaml", "name: tiny", "name: '1e3'")
    change(first / "config.yaml", "lr: 0.1", "lr: .nan")
    change(second / "config.yaml", "lr: 0.01", "lr: [0.9, .nan, 'a: b']")
    change(third / "run.json", '"git": {', '"git": null, "was": {')
    assert listed(saved, capsys, "--filter", "name=1e3")[0]["id"] == first.name
    found = listed(saved, capsys, "--sort", "optimizer.args.lr")
    assert [run["id"] for run in found][-1] == first.name and found[0]["name"] == "often"
    assert next(run for run in found if run["id"] == second.name)["differs"]["optimizer.args.lr"] == [0.9, None, "a: b"]
    change(second / "config.yaml", ".nan", "1")
    assert listed(saved, capsys, "--filter", 'optimizer.args.lr=[.9,1.0,"a: b"]')[0]["id"] == second.name
    call(saved, "diff", str(second), str(third))


def test_a_thousand_runs_in_two_seconds_and_without_torch(trained, tmp_path):
    whole = sorted((trained / "tiny").glob("2*"))[0]
    texts = {name: (whole / name).read_text() for name in ("run.json", "config.yaml", "metrics.csv", "train.log")}
    header, row, *_ = texts["metrics.csv"].splitlines(keepends=True)
    texts["metrics.csv"] = header + row * 50
    texts["train.log"] += 50 * texts["train.log"].splitlines(keepends=True)[-3]
    for i in range(1000):
        run = tmp_path / "saved" / f"name{i % 5}" / f"20261129-{i:06}"
        run.mkdir(parents=True)
        for name, text in texts.items():
            (run / name).write_text(text.replace("seed: 42", f"seed: {i}"))
    code = """
import runs, sys, time
started = time.process_time()
code = runs.main(sys.argv[1:])
print("seconds", time.process_time() - started, "torch" in sys.modules)
sys.exit(code)
"""
    told = python("-c", code, "--save-dir", tmp_path / "saved").stdout.splitlines()
    assert len(told) == 1002 and "seed=999" in told[1000]
    _, seconds, has_torch = told[-1].split()
    assert float(seconds) < 2 and has_torch == "False"


@pytest.mark.draws
def test_two_runs_are_compared_and_several_drawn(trained, tmp_path, capsys):
    first, second, _ = (str(path) for path in sorted((trained / "tiny").glob("2*")))
    call(trained, "diff", first, second, "--out", str(tmp_path / "both.png"))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == [first, second] and ["optimizer.args.lr", "0.1", "0.01"] in lines
    curves = [[row["val_loss"] for row in rows(Path(run))] for run in (first, second)]
    assert ["last", "val_loss", *(f"{curve[-1]:.4f}" for curve in curves)] in lines
    assert [line for line in lines if line and line[0] == "2"] == [["2", *(f"{curve[1]:.4f}" for curve in curves)]]
    assert size_of(tmp_path / "both.png")[0] > 800
    call(trained, "plot", "often", first, "-o", str(tmp_path / "two.png"))
    call(trained, "plot", "--filter", "name=tiny", "-o", str(tmp_path / "three.png"))
    assert size_of(tmp_path / "three.png")[1] > size_of(tmp_path / "two.png")[1] > 300  # a longer legend
    call(trained, "plot", "nothing", "-o", str(tmp_path / "x.png"), code=2)
    assert not (tmp_path / "x.png").exists()
    call(trained, "plot", "often", "-o", str(tmp_path / "x.xyz"), code=2)
    assert "expected a file that ends in " in capsys.readouterr().err
    call(trained, "plot", "often", "-o", str(tmp_path / "new" / "x.svg"))
    assert (tmp_path / "new" / "x.svg").read_text().startswith("<?xml")


def test_clean_asks_and_keeps_the_best_of_each_finished_run(saved, capsys, monkeypatch):
    runs = sorted(saved.glob("*/2*"))
    before = {run: steps_saved(run) for run in runs}
    best = {run: os.readlink(run / "checkpoints/best.pt") for run in runs}
    others = {"stopped": runs[1], "running": runs[2]}
    for word, run in others.items():
        (run / "run.json").write_text(json.dumps({**RunFolder(run).info(), "status": word}))
    call(saved, "clean", code=2)
    assert "give --yes" in capsys.readouterr().err and {run: steps_saved(run) for run in runs} == before

    class Says(str):
        def isatty(self):
            return True

        def readline(self):
            return self

    for answer in ("n\n", ""):  # Ctrl-D
        monkeypatch.setattr("sys.stdin", Says(answer))
        call(saved, "clean")
        assert capsys.readouterr().out.endswith("nothing was deleted\n")
    assert {run: steps_saved(run) for run in runs} == before
    monkeypatch.setattr("sys.stdin", Says("y\n"))
    call(saved, "clean")
    said = capsys.readouterr().out
    for run in runs:
        kept = steps_saved(run)
        assert kept == (before[run] if run in others.values() else [int(best[run][5:-3])])
        assert os.readlink(run / "checkpoints/best.pt") == best[run] and (run / "checkpoints/last.pt").exists()
        assert (f"{run}: " in said) is (kept != before[run])
    assert said.splitlines()[-1].endswith(" are free") and "in all " in said
    cleaned = next(run for run in runs if steps_saved(run) != before[run])
    resume(cleaned, "--epochs", "4")
    assert status(cleaned) == "finished" and len(rows(cleaned)) == 4
    call(saved, "clean", "--yes", "--filter", "status=stopped")
    assert "there is nothing to delete" in capsys.readouterr().out


def test_clean_spares_what_it_needs_where_the_best_is_damaged_and_runs_in_use(saved, capsys):
    damaged, used, *_ = sorted((saved / "tiny").glob("2*"))
    (damaged / "checkpoints/best.pt").resolve().write_bytes(b"nothing")
    owner = RunFolder(used)
    owner.acquire()
    before = steps_saved(used)
    call(saved, "clean", "--yes", "--filter", "name=tiny")
    owner.unlock()
    assert steps_saved(used) == before and "is in use" in capsys.readouterr().err
    assert len(steps_saved(damaged)) == 2  # the best as it is, and one that can be read
    resume(damaged, "--epochs", "4")


def test_clean_knows_the_best_without_links_and_frees_shards(tmp_path, capsys):
    """Some programs that copy folders leave links out."""
    saved, run = tmp_path / "saved", train(tmp_path, *BEST, "trainer.monitor=max val_loss", "--lr", "0.001")
    best, _, last = steps_saved(run)
    for link in ("best.pt", "last.pt"):
        (run / "checkpoints" / link).unlink()
    assert resolve_checkpoint(run).stem == f"step-{best:09d}"
    for link, step in (("best.pt", best), ("last.pt", last)):  # others make files of them
        shutil.copy(run / "checkpoints" / f"step-{step:09d}.pt", run / "checkpoints" / link)
    assert resolve_checkpoint(run).stem == f"step-{best:09d}"
    resume(run, "--epochs", "4", "trainer.keep_last=2")
    assert resolve_checkpoint(run).name == "best.pt" and best not in steps_saved(run)
    call(saved, "clean", "--yes")
    assert "left alone: its best checkpoint is" in capsys.readouterr().err and len(steps_saved(run)) == 2
    (run / "checkpoints" / "best.pt").rename(run / "checkpoints" / f"step-{best:09d}.pt")
    (run / "checkpoints" / "last.pt").unlink()
    other = steps_saved(run)[1]
    shards = run / "checkpoints" / f"step-{other:09d}.0123abcd-1"
    shards.mkdir()
    (shards / "0.pt").write_bytes(bytes(5_000_000))
    call(saved, "clean", "--yes")
    assert "5.0 MB" in capsys.readouterr().out and steps_saved(run) == [best] and not shards.exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["list", "--yes"], "--yes changes nothing in list"), (["diff", "a"], "diff takes two runs"),
        (["plot", "a"], "plot needs the picture to write: -o FILE"), (["list", "a"], "list takes no runs"),
        (["clean", "--json"], "--json changes nothing in clean"), (["--filter", "a"], "'a' is not KEY=VALUE"),
        (["delete"], "invalid choice: 'delete'"), (["--sorted"], "unknown option --sorted"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(arguments, told, capsys):
    with pytest.raises(SystemExit) as end:
        parse_runs_options(arguments)
    assert end.value.code == 2 and told in capsys.readouterr().err


def test_a_list_fits_the_terminal(trained, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    seen = on_a_terminal(monkeypatch, lambda _: call(trained), 70)
    assert max(map(len, seen.replace("\r\n", "\n").split("\n"))) <= 70
