"""The real torchrun: it starts the processes, starts them anew when one dies, and passes signals on."""

import os
import signal
import subprocess
import sys
import time

from tests.process import ROOT
from tests.ranks import train_together
from tests.running import TINY, assert_same_end, state_of, status

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2")
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


def start(folder, *arguments, options=()):
    folder.mkdir(exist_ok=True)
    (folder / "tiny.yaml").write_text(CONFIG)
    (folder / "dying.py").write_text(DYING)
    command = [*TORCHRUN, *options, str(folder / "dying.py"), "-c", "tiny.yaml", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with open(folder / "output.txt", "a") as output:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)


def test_it_goes_on_by_itself_after_two_deaths(tmp_path):
    dying = start(tmp_path / "dying", "trainer.type=Dying", options=("--max-restarts", "3"))
    whole = train_together(tmp_path, 2, config=CONFIG)
    assert dying.wait(120) == 0, (tmp_path / "dying/output.txt").read_text()
    assert len(list((tmp_path / "dying").glob("died-*"))) == 2
    (run,) = (tmp_path / "dying/saved/tiny").glob("2*")
    assert_same_end(run, whole)


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
