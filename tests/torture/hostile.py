"""Files, configs and names that were made to harm: each is refused, quickly, and nothing runs or gets out."""

import contextlib
import io
import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

import test as test_script
import train as train_script
from tests.test_utils_hostile import CANARY, FILES
from tests.torture import experiment
from tests.torture.harness import Run, Tally, run_folder, start
from tests.torture.stop import EVERY_EPOCH, stopped_after
from utils.checkpoint import REQUIRED, read_checkpoint, write_checkpoint

CPU_SECONDS = 1.0
MEGABYTES = 200
NEWEST = "saved/torture/latest/checkpoints/step-000000099.pt"
IMPORTS = ("os.system", "builtins.eval", "subprocess.Popen", "torch.load", "__main__.main", "../../model", "a/b", "os")


class Item(NamedTuple):
    """prepare: puts the files in place; it is given the folder of a run that was stopped."""

    name: str
    arguments: tuple[str, ...]
    prepare: Callable[[Path], object] = lambda case: None
    script: Callable = train_script.main


def hostile(folder: Path, count: int, seed: int = 0) -> Tally:
    """count: the most items to try."""
    tally = Tally()
    stopped = folder / "stopped"
    stopped_after(6, stopped, EVERY_EPOCH)
    with contextlib.redirect_stdout(io.StringIO()):
        train_script.main(["--list"])  # imports what is imported to find the nearest right name
    harmless = start(folder / "harmless", "--dry-run")
    assert harmless.wait() == 0, harmless.output()
    items = list(corpus(stopped))
    items = random.Random(seed).sample(items, min(count, len(items)))
    largest = {"CPU seconds": 0.0, "MB": 0.0}
    for number, item in enumerate(items):
        case = folder / f"item-{number}"
        shutil.copytree(stopped, case, symlinks=True)
        item.prepare(case)
        before = listing(folder)
        force = partial(os.environ.__setitem__, "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", str(number % 2))
        run = Run(case, *item.arguments, prepare=force, script=item.script)
        code, output = run.wait(30), run.output()
        used = {"CPU seconds": run.cpu_seconds, "MB": run.megabytes - harmless.megabytes}
        largest = {name: max(value, used[name]) for name, value in largest.items()}
        tally.check(code == 2, f"{item.name}: exit code {code}: {output[-600:]}", "refused")
        tally.check("Traceback" not in output and output.strip() != "", f"{item.name}: {output[-1500:]}")
        tally.check(len(output) < 10_000, f"{item.name}: a message of {len(output)} characters")
        tally.check(used["CPU seconds"] < CPU_SECONDS and used["MB"] < MEGABYTES, f"{item.name}: {used}")
        new = {path for path in listing(folder) - before if not path.startswith(str(case / "output-"))}
        tally.check(not new, f"{item.name}: {'ran and ' * (CANARY in str(new))}made {sorted(new)[:3]}")
        shutil.rmtree(case)
    tally.counts[f"at most {largest['CPU seconds']:.2f} CPU seconds and {max(0, largest['MB']):.0f} MB"] += 1
    return tally


def listing(folder: Path) -> set[str]:
    """All there is in a folder, the locks of runs left out."""
    return {str(path) for path in folder.rglob("*") if path.name != ".lock"}


def corpus(stopped: Path) -> Iterator[Item]:
    yield from checkpoint_files()
    yield from checkpoint_contents(stopped)
    yield from configs()
    yield from arguments()


def checkpoint_files() -> Iterator[Item]:
    """The files of tests/test_utils_hostile.py, given to each way in which a checkpoint is read."""
    for name, make in FILES.items():
        prepare = partial(write, make, NEWEST)
        yield Item(f"resume: {name}", ("-r", NEWEST), prepare)
        yield Item(f"test: {name}", ("-r", NEWEST), prepare, test_script.main)
        yield Item(f"init_from: {name}", ("-c", "torture.yaml", f"trainer.init_from={NEWEST}"), prepare)


def checkpoint_contents(stopped: Path) -> Iterator[Item]:
    """Checkpoints that are intact, but do not say what one of this run would."""
    state = read_checkpoint(run_folder(stopped) / "checkpoints/last.pt")
    text_keys = ("lr_scheduler", "best", "ema", "train_sums", "valid_scores", "epoch_seconds", "is_settled")
    changes: dict[str, Any] = {
        **{f"{key} a text": {key: "os.system"} for key in ("format", *text_keys)},
        **{f"{key} empty": {key: {}} for key in ("model", "optimizer", "lr_scheduler", "best", "ema", "train_sums")},
        "format 2": {"format": 2},
        "step negative": {"step": -1},
        "step huge": {"step": 10**15},
        "step a text": {"step": "6"},
        "epoch a list": {"epoch": [1]},
        "epoch of another step": {"epoch": 7},
        "epoch_seconds nothing": {"epoch_seconds": None},
        "model of other shapes": {"model": {name: torch.zeros(3, 3, 3) for name in state["model"]}},
        "model of other names": {"model": {f"x.{name}": tensor for name, tensor in state["model"].items()}},
        "model of texts": {"model": dict.fromkeys(state["model"], "os.system")},
        "optimizer of texts": {"optimizer": {"state": "os.system", "param_groups": "eval"}},
        "optimizer a list": {"optimizer": [1, 2]},
        "optimizer of other groups": {"optimizer": {"state": {}, "param_groups": []}},
        "logs negative": {"logs": {"metrics.csv": -1}},
        "logs a list": {"logs": [1]},
        "logs of texts": {"logs": {"metrics.csv": "x"}},
        "ema of other shapes": {"ema": {"model": {name: torch.zeros(1) for name in state["model"]}, "num_updates": 1}},
        "score a text": {"best": state["best"] | {"value": "x"}},
        "patience a text": {"best": state["best"] | {"num_bad_evaluations": "x"}},
    }
    states = {name: state | change for name, change in changes.items()}
    for key in ("format", "config", "step", "epoch", "model", "optimizer", "lr_scheduler", "best", "logs", "ema",
                "train_sums", "is_settled", "valid_scores", "epoch_seconds"):  # fmt: skip
        states[f"without {key}"] = {name: value for name, value in state.items() if name != key}
    for name, changed in states.items():
        yield Item(f"resume: {name}", ("-r", NEWEST), partial(put, changed))
    configs: dict[str, Any] = {"no config": {}, "config a list": [1], "config of texts": {"model": "os.system"}}
    for import_path, kind in itertools.product(IMPORTS, ("dataset", "model", "loss", "optimizer", "trainer")):
        changed = state["config"] | {kind: state["config"][kind] | {"type": import_path}}
        configs[f"{kind} {import_path} in the checkpoint"] = changed
    for name, config in configs.items():
        yield Item(f"test: {name}", ("-r", NEWEST), partial(put, state | {"config": config}), test_script.main)


def put(state: dict[str, Any], case: Path) -> None:
    """Write a state, with a digest where it has what a checkpoint needs."""
    is_whole = {"format", *REQUIRED} <= state.keys()
    if is_whole:
        write_checkpoint(case / NEWEST, state)
    else:
        torch.save(state, case / NEWEST)


def write(make: Callable[[], bytes], name: str, case: Path) -> None:
    (case / name).write_bytes(make())


def configs() -> Iterator[Item]:
    """YAML files."""
    base = experiment.CONFIG
    laughs = ["a: &a [x, x, x, x, x, x, x, x, x]\n"]
    for before, name in itertools.pairwise("abcdefghijklm"):
        laughs.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n")
    texts = {
        "python/object/apply": f"model: !!python/object/apply:os.system ['touch {CANARY}']\n",
        "python/object/new": f"model: !!python/object/new:os.system ['touch {CANARY}']\n",
        "python/name": "model: !!python/name:os.system\n", "python/module": "model: !!python/module:antigravity\n",
        "python/tuple": "metrics: !!python/tuple [1, 2]\n", "own tag": "model: !Evil {a: b}\n",
        "binary": "model: !!binary aGVsbG8=\n", "set": "model: !!set {a, b}\n",
        "timestamp tag": "model: !!timestamp 2020-01-01\n", "merge key": "a: &a {x: 1}\nmodel:\n  <<: *a\n",
        "two documents": "a: 1\n---\nb: 2\n", "tab": "model:\n\ttype: LeNet\n", "empty": "", "a list": "- a\n- b\n",
        "laughs": "".join(laughs), "holds itself": "model: &a [*a]\n", "alias unknown": "model: *nothing\n",
        "deep list": "model: " + "[" * 100_000 + "\n", "deep mapping": "model: " + "{a: " * 50_000 + "\n",
        "deep blocks": "".join("  " * i + "a:\n" for i in range(700)),
        "many keys": "".join(f"key{i}: {i}\n" for i in range(50_000)),
        "long number": "seed: " + "9" * 500_000 + "\n", "long key": "? " + "k" * 500_000 + "\n: 1\n",
        "duplicate": base + "seed: 8\n", "unknown key": base + "trainer2: {}\n",
        "infinite seed": "seed: .inf\n", "seed a list": "seed: [1]\n",
        "NUL": "seed: \0\n", "control characters": "name: \x07\x1b[31m\n",
        "not UTF-8": b"name: \xff\xfe\n", "UTF-16": base.encode("utf-16"), "executable": b"\x7fELF" + bytes(1000),
        "100 MB": b"a: " + b"x" * 100_000_000, "100 MB of blanks": b" " * 100_000_000,
    }  # fmt: skip
    for name, text in texts.items():
        data = text if isinstance(text, bytes) else text.encode()
        prepare = partial(write, lambda data=data: data, "evil.yaml")
        # Alone, where what is wrong is the file; after the experiment, where it is a key of it.
        yield Item(f"YAML: {name}", ("-c", "evil.yaml"), prepare)
        if len(data) < 10_000 and name not in ("duplicate", "unknown key", "UTF-16", "empty", "merge key"):
            yield Item(f"overlay: {name}", ("-c", "torture.yaml", "-c", "evil.yaml"), prepare)


def arguments() -> Iterator[Item]:
    """Overrides, names, and paths in place of configs and runs."""
    kinds = ("model", "dataset", "loss", "optimizer", "trainer.type", "lr_scheduler", "metrics.0")
    names = (
        "..", ".", "../evil", "a/b", "/tmp/evil", "a\\b", "\0", "a\0b", "a\nb", "\x1b[31mred", "CON", "nul", "COM1.txt",
        "aux", "x" * 300, "é" * 120, "", " ", "a ", "a.", "~", "$HOME", "`touch canary`", "a*b", "a:b", "😀",
        ".hidden", "a..b", "\u202egnp.exe", "latest/..", "%2e%2e", "con.yaml", "|", "a\tb",
    )  # fmt: skip
    overrides = (
        *(f"{kind}={import_path}" for kind, import_path in itertools.product(kinds, IMPORTS)),
        *(f"name={quoted(name)}" for name in names),
        "model=!!python/object/apply:os.system [touch canary]",
        *("model.__class__=x", "model.args.__init__=1", "__proto__.x=1", "=", ".=1", "metrics.99999999999=1"),
        *("trainer.epochs=" + "9" * 5000, "trainer.epochs=-1", "optimizer.args={lr: {a: b}}"),
        *("trainer.max_time=os.system", "trainer.loggers=[os.system]", "dataset.batch_transforms.train=[os.system]"),
        "dataset.transforms.train=[{type: Lambda, args: {lambd: os.system}}]",
        *("trainer.save_dir=\0", "data_loader.batch_size=1e99"),
    )
    for override in overrides:
        yield Item(override[:60], ("-c", "torture.yaml", override))
    for target in ("../..", "/tmp"):
        prepare = lambda case, target=target: (case / "saved/evil").symlink_to(target)  # noqa: E731
        yield Item(f"saved/evil -> {target}", ("-c", "torture.yaml", "name=evil"), prepare)
    for path in ("/dev/zero", "/proc/self/mem", ".", "/", "nul\0", "x" * 5000, "../../../../etc/shadow-"):
        yield Item(f"config {path[:30]!r}", ("-c", path))
    config = "saved/torture/latest/config.yaml"
    for run in ("../../..", "/etc/passwd", "/dev/zero", "\0", "x" * 5000, config, "os.system"):
        yield Item(f"-r {run[:30]!r}", ("-r", run))


def quoted(text: str) -> str:
    """As a YAML text in double quotes."""
    return '"' + "".join(f"\\U{ord(char):08x}" for char in text) + '"'
