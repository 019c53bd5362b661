"""sweep.py --jobs: processes that share the cores and the runs, and save where they are when they are stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.test_sweep import SPACE, arguments, read

ROOT = Path(__file__).resolve().parent.parent.parent


def test_two_jobs_are_stopped_and_go_on(tmp_path):
    command = [
        sys.executable,
        "sweep.py",
        *arguments(tmp_path, "--trials", "6", *SPACE, "--jobs", "2", "trainer.epochs=200"),
    ]
    folder = tmp_path / "saved" / "cancer"
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while len(list(folder.glob("2*/metrics.csv"))) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "the same command again goes on" in out
    unfinished = [path for path in folder.glob("2*/run.json") if json.loads(path.read_text())["status"] == "stopped"]
    assert unfinished
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    table = read(folder / "sweep" / "trials.csv")
    assert len(table) == 6 == len({row["run"] for row in table}) == len(list(folder.glob("2*")))
    assert {row["state"] for row in table} <= {"complete", "pruned"}
    runs = [json.loads(path.read_text()) for path in folder.glob("2*/run.json")]
    assert {run["num_threads"] for run in runs} == {max(1, len(os.sched_getaffinity(0)) // 2)}
