"""Two machines: two network namespaces, and a line between them that is cut. Needs root, and `ip` of iproute2."""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.torture.harness import Tally, outcome

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT = 15  # trainer.timeout, in seconds
MOST_SECONDS = 120  # that a run may take after a cut
ENDED = "another process of this run has ended, or has not answered for trainer.timeout"
SETTINGS = (
    *("-c", "config/digits.yaml", "--name", "torture", "--epochs", "20", "--device", "cpu"),
    *(f"trainer.timeout={TIMEOUT} seconds", "trainer.save_every=1 epochs", "-r", "auto"),
)


class Machines:
    """Two namespaces with a processor each."""

    def __init__(self):
        self.names = [f"torture-{os.getpid()}-{place}" for place in (1, 2)]

    def __enter__(self) -> "Machines":
        for name in self.names:
            _run("ip", "netns", "add", name)
        ends = [("line1", "netns", self.names[0]), ("line2", "netns", self.names[1])]
        _run("ip", "link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
        for place, name in enumerate(self.names, 1):
            _run("ip", "-n", name, "address", "add", f"10.77.0.{place}/24", "dev", f"line{place}")
            for device in (f"line{place}", "lo"):
                _run("ip", "-n", name, "link", "set", device, "up")
            # A connection over a cut line is given up after seconds; Linux does so after 15 minutes.
            _run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.tcp_retries2=6")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            _run("ip", "netns", "delete", name)

    def set_line(self, state: str) -> None:
        """up, or down: a cut."""
        _run("ip", "-n", self.names[0], "link", "set", "line1", state)

    def start(self, folder: Path) -> list[subprocess.Popen]:
        """torchrun on each, with one process; what they say is in output-1.txt and output-2.txt."""
        folder.mkdir(parents=True, exist_ok=True)
        return [self._torchrun(folder, place) for place in (1, 2)]

    def _torchrun(self, folder: Path, place: int) -> subprocess.Popen:
        here = ("ip", "netns", "exec", self.names[place - 1], sys.executable, "-m", "torch.distributed.run")
        # That the first address is its own a machine tells by its host name, which namespaces share.
        meeting = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "10.77.0.1:29500", "--rdzv-id", "1")
        own = ("--rdzv-conf", f"is_host={2 - place}", "--local-addr", f"10.77.0.{place}")
        command = [*here, "--nnodes", "2", "--nproc-per-node", "1", *meeting, *own, "train.py", *SETTINGS]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": f"line{place}"}
        with open(folder / f"output-{place}.txt", "a") as output:
            arguments = [*command, f"trainer.save_dir={folder / 'saved'}"]
            return subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=output, stderr=output)


def ranks_network(folder: Path, count: int, seed: int = 0) -> Tally:
    """The line is cut for 10 seconds, which a run waits for, and once for good, which ends it on both machines."""
    tally, choose = Tally(), random.Random(seed)
    if os.geteuid() or not shutil.which("ip"):
        tally.counts["left out: it needs root, and ip"] = 1
        return tally
    with Machines() as machines:
        untouched = folder / "untouched"
        assert _codes(machines.start(untouched)) == [0, 0], _output(untouched)
        expected = outcome(untouched)
        for number in range(count):
            case = folder / f"cut-{number}"
            running = _started(machines, case, choose)
            machines.set_line("down")
            time.sleep(10)
            machines.set_line("up")
            if tally.check(_codes(running) == [0, 0], f"{case}: {_output(case)[-2000:]}", "waited for"):
                tally.check_same(expected, case, str(case))
        case = folder / "for-good"
        running, cut = _started(machines, case, choose), time.monotonic()
        machines.set_line("down")
        codes, output = _codes(running), _output(case)
        tally.check(codes == [1, 1] and output.count(ENDED) >= 2, f"{case}: {codes} {output[-2000:]}", "ended on both")
        tally.counts["seconds after the cut"] = round(time.monotonic() - cut)
        machines.set_line("up")
        tally.check(_codes(machines.start(case)) == [0, 0], f"{case}: {_output(case)[-2000:]}", "resumed")
        tally.check_same(expected, case, str(case))
    return tally


def _started(machines: Machines, case: Path, choose: random.Random) -> list[subprocess.Popen]:
    """A run that is in one of its epochs."""
    running, rows = machines.start(case), []
    while len(rows) < 3:
        assert all(process.poll() is None for process in running), _output(case)
        time.sleep(0.1)
        rows = [line for path in case.glob("saved/torture/2*/metrics.csv") for line in path.read_text().splitlines()]
    time.sleep(choose.uniform(0, 3))
    return running


def _codes(running: list[subprocess.Popen]) -> list[int]:
    """The exit codes of both; -9 of what has not ended by itself."""
    end = time.monotonic() + MOST_SECONDS
    for process in running:
        try:
            process.wait(max(0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
    return [process.wait() for process in running]


def _output(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in sorted(folder.glob("output-*.txt")))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
