"""Python without its start: torch takes two seconds to import, so one process imports the libraries and is forked.

`forked` is like `process.python`: the real script or code runs in a process of its own, with its own folder,
environment, outputs and death, and imports the project there. What is about the start or the end of Python itself
needs a real start.
"""

import atexit
import functools
import gc
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_SECONDS = 300


class Forked:
    """A process that has been started; one at a time. Its outputs are in files until it is waited for."""

    def __init__(self, arguments: tuple[object, ...], folder: Path, variables: dict[str, str]):
        self.arguments = list(map(str, arguments))
        self._outputs = tempfile.TemporaryDirectory()
        self._server = server()
        request = self.arguments, str(folder), variables, self._outputs.name
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self.pid = int(self._server.stdout.readline())

    def is_running(self) -> bool:
        return not select.select([self._server.stdout], [], [], 0)[0]

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> subprocess.CompletedProcess:
        code = int(self._server.stdout.readline())
        with self._outputs as outputs:
            texts = [Path(outputs, name).read_text(errors="replace") for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(self.arguments, code, *texts)


@functools.cache
def server() -> subprocess.Popen:
    """The process that is forked; it ends with this one. What the project is compiled to is kept as long."""
    if not hasattr(os, "fork"):
        pytest.skip("needs processes that fork")
    compiled = tempfile.TemporaryDirectory()
    command = [sys.executable, "-P", __file__, compiled.name]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    atexit.register(lambda: (process.communicate(), compiled.cleanup()))
    return process


def start_forked(*arguments: object, folder: Path = ROOT, **variables: str) -> Forked:
    """Start `python ARGUMENTS` in a folder. variables: of the environment."""
    return Forked(arguments, folder, variables)


def forked(*arguments: object, code: int | None = 0, **options) -> subprocess.CompletedProcess:
    """Run `python ARGUMENTS`, to this exit code; None: to any."""
    done = start_forked(*arguments, **options).wait()
    assert code in (done.returncode, None), f"{done.returncode}\n{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
    return done


# The process that is forked.


def serve(compiled: str) -> None:
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import PIL.Image
    import pydantic.types  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    import torch.utils.tensorboard
    import torchmetrics  # noqa: F401
    import torchvision  # noqa: F401
    import yaml  # noqa: F401

    PIL.Image.preinit()
    torch.set_num_threads(1)
    # As in conftest.py; nothing of the project is imported here, and this folder is part of it.
    matplotlib.figure.Figure = runpy.run_path(str(Path(__file__).with_name("paper.py")))["Paper"]
    sys.pycache_prefix, sys.dont_write_bytecode = compiled, False
    gc.collect()
    gc.freeze()  # else each process would look for garbage among what all of them have
    assert threading.active_count() == 1, "only one thread survives a fork"
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            be_the_process(*json.loads(line))
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    os._exit(0)  # to take all that was imported apart takes a second


def be_the_process(arguments: list[str], folder: str, variables: dict[str, str], outputs: str) -> NoReturn:
    import torch

    code = 1
    try:
        torch.set_num_threads(1)  # makes torch's threads anew: two that found them dead would end the process
        signal.alarm(MOST_SECONDS)
        os.chdir(folder)
        os.environ.update(variables)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(f"{outputs}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        sys.path.insert(0, folder)
        run(arguments)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:  # what Python does at its end, without taking apart what was imported
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def run(arguments: list[str]) -> None:
    """As Python does with `-c CODE`, `-m MODULE` or the path of a script."""
    first, *rest = arguments
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv, main = ["-c", *rest[1:]], ModuleType("__main__")
        sys.modules["__main__"] = main
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    else:
        sys.argv = arguments
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
