"""The processes that torchrun would start, forked from this one: what they import is there already."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

# Before the forks, each of which would import them again.
import sklearn.metrics  # noqa: F401
import torch._dynamo
import torch.distributed.fsdp  # noqa: F401
import torchmetrics  # noqa: F401
from torch.distributed import TCPStore
from tqdm import tqdm

import train as train_script
from tests.running import TINY
from tests.torture.harness import Run
from utils import distributed as here

DIGITS = 5  # of a port, padded


class Ranks:
    """Processes of one run. As torchrun does, `wait` sends SIGTERM to the others when one has failed."""

    def __init__(
        self, folder: Path, num_ranks: int, *arguments: str, prepare=lambda rank: None, script=train_script.main
    ):
        read, write = os.pipe()  # by which they learn where to meet

        def become(place: int) -> Callable[[], object]:
            names = {"RANK": place, "LOCAL_RANK": place, "WORLD_SIZE": num_ranks, "LOCAL_WORLD_SIZE": num_ranks}
            variables = {
                **names,
                "TORCHELASTIC_USE_AGENT_STORE": True,
                "MASTER_ADDR": "127.0.0.1",
            }

            def be_the_rank() -> None:
                os.close(write)
                variables["MASTER_PORT"] = int(os.read(read, DIGITS))
                os.close(read)
                os.environ.update({name: str(value) for name, value in variables.items()})
                for known in (here.rank, here.num_ranks, here.local_rank, here.num_local_ranks, here.of_rank):
                    known.cache_clear()
                tqdm.set_lock(threading.RLock())  # the one shared with this process a kill may leave locked
                logging.getLogger().handlers.clear()  # pytest's
                prepare(place)

            return be_the_rank

        self.runs = [Run(folder, *arguments, prepare=become(place), script=script) for place in range(num_ranks)]
        # As torchrun has it, for them to meet at and leave word; it outlives them. Its thread looks up the names of
        # those who come: a process forked meanwhile would wait for ever for libc's lock of that.
        self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        os.write(write, f"{self.store.port:{DIGITS}}".encode() * num_ranks)
        os.close(write), os.close(read)

    def signal(self, number: int) -> None:
        for run in self.runs:
            if run.is_running():
                os.kill(run.pid, number)

    def wait(self, seconds: float = 150) -> list[int]:
        """The exit codes, by rank."""
        end, is_told = time.monotonic() + seconds, False
        while any([run.is_running() for run in self.runs]):
            if not is_told and any(run.code for run in self.runs):
                self.signal(signal.SIGTERM)
                is_told = True
            if time.monotonic() > end:
                for run in self.runs:
                    run.kill()
            time.sleep(0.01)
        return [run.code for run in self.runs]

    def output(self) -> str:
        return "".join(run.output() for run in self.runs)


def train_together(
    folder: Path, num_ranks: int, *arguments: str, config: str = TINY, code: int | None = 0, prepare=None
) -> Path:
    """Train in folder/saved in several processes; returns the newest run's folder.

    code: the exit code of each; None: any.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.yaml").write_text(config)
    given = ["-c", str(folder / "tiny.yaml"), f"trainer.save_dir={folder / 'saved'}"]
    ranks = Ranks(folder, num_ranks, *given, *arguments, prepare=prepare or (lambda rank: None))
    codes = ranks.wait()
    assert code is None or codes == [code] * num_ranks, f"{codes}\n{ranks.output()}"
    names = sorted((folder / "saved").glob("*/latest"), key=lambda link: link.stat().st_mtime)
    return names[-1].resolve() if names else folder / "saved"
