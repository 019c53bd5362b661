"""Processes of their own, started in the project's folder."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def python(*arguments: object, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess:
    """Run Python with these arguments, to exit code 0; `stdout` and `stderr` hold what it said.

    variables: of the environment. timeout: in seconds.
    """
    command = [sys.executable, *map(str, arguments)]
    options = dict(cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, errors="replace")
    done = subprocess.run(command, timeout=timeout, **options)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done


def start_python(*arguments: object, stdout: int = subprocess.PIPE) -> subprocess.Popen:
    """Python that runs beside this process; it has pipes for what it says, but for a descriptor that is given."""
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=subprocess.PIPE, text=True)
