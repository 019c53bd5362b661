"""Several processes by the real torchrun: as one, started anew when one dies, stopped by a signal.

.ci/run runs this file, as it takes a minute. The others beside it look at everything else, with processes that are
forked: `pytest tests/together` runs them by hand, in some ten minutes.
"""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.process import ROOT
from tests.running import TINY, assert_same_end, rows, state_of, status
from utils.checkpoint import open_checkpoint, read_checkpoint

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
CONFIG = TINY.replace(", loggers: [Recorder]", ", save_every: 1 steps").replace("epochs: 2", "epochs: 4")

# Its second process kills itself at steps 3 and 7, once each.
DYING = f"""
import os, pathlib, signal, sys
sys.path.insert(0, {str(ROOT)!r})
import train
from base import TRAINERS
from script import load_registries
load_registries()
from trainer.trainer import Trainer
from utils.distributed import rank

@TRAINERS.register
class Dying(Trainer):
    def train_step(self, batches):
        died = pathlib.Path(f"died-{{self.step}}")
        if self.journal and rank() == 1 and self.step in (3, 7) and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        super().train_step(batches)

sys.exit(train.main())
"""


def start(folder, *arguments, launcher=TORCHRUN):
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(CONFIG)
    (folder / "dying.py").write_text(DYING)
    command = [*launcher, str(folder / "dying.py"), "-c", "tiny.yaml", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(folder / "output.txt", "a") as output:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)


def finished(folder, process):
    """The folder of a run that has come to its end."""
    assert process.wait(150) == 0, (folder / "output.txt").read_text()
    (run,) = (folder / "saved/tiny").glob("2*")
    return run


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A run of two processes."""
    folder = tmp_path_factory.mktemp("together")
    return finished(folder, start(folder))


def test_as_one_process(tmp_path, together):
    folders = {"alone": tmp_path / "alone", "fsdp": tmp_path / "fsdp"}
    alone = start(folders["alone"], launcher=(sys.executable,))
    fsdp = start(folders["fsdp"], "trainer.parallel=fsdp")
    expected = finished(folders["alone"], alone)
    for run in (together, finished(folders["fsdp"], fsdp)):
        for name, weight in state_of(expected)["model"].items():
            torch.testing.assert_close(state_of(run)["model"][name], weight, rtol=1e-5, atol=1e-6)
        assert [row["val_loss"] for row in rows(run)] == pytest.approx([row["val_loss"] for row in rows(expected)])
    before, last = sorted((run / "checkpoints").glob("step-*.pt"))[-2:]  # of fsdp; at the end the last became plain
    assert len(open_checkpoint(before)["shards"].digests) == 2 and "shards" not in open_checkpoint(last)
    theirs, own = (read_checkpoint(folder / "checkpoints" / before.name)["model"] for folder in (expected, run))
    torch.testing.assert_close(own, theirs, rtol=1e-5, atol=1e-6)
    assert "2 processes: each has all weights, and 4 samples of a batch" in (together / "train.log").read_text()


@pytest.mark.parametrize(
    ("argument", "message"),
    [("--epoch=3", "unknown option --epoch=3; did you mean '--epochs'?"), ("trainer.epoch=3", "unknown key")],
)
def test_a_mistake_is_told_once(tmp_path, argument, message):
    run = start(tmp_path, argument)
    assert run.wait(60) == 1  # torchrun's own
    output = (tmp_path / "output.txt").read_text()
    assert output.count(message) == 1 and "exitcode  : 2 " in output, output


def test_it_goes_on_by_itself_after_two_deaths(tmp_path, together):
    dying = start(tmp_path, "trainer.type=Dying", launcher=(*TORCHRUN, "--max-restarts", "3"))
    run = finished(tmp_path, dying)
    assert len(list(tmp_path.glob("died-*"))) == 2
    assert_same_end(run, together)


def test_a_signal_to_torchrun_stops_all_with_a_checkpoint(tmp_path):
    run = start(tmp_path, "trainer.epochs=100000", "trainer.save_every=end")
    while not list(tmp_path.glob("saved/tiny/2*/metrics.csv")):
        assert run.poll() is None, (tmp_path / "output.txt").read_text()
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 1  # torchrun's own
    folder = (tmp_path / "saved/tiny/latest").resolve()
    assert status(folder) == "stopped"
    output = (tmp_path / "output.txt").read_text()
    assert output.count("SIGTERM: stopping after this step") == 1
    assert f"stopped by SIGTERM after step {state_of(folder)['step']:,}" in output
