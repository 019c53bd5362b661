"""What a run runs on: the device, and a description of machine and code to explain differences by."""

import ctypes
import logging
import os
import platform
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from utils.distributed import device_of_rank, num_ranks
from utils.errors import UserError

logger = logging.getLogger(__name__)

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from glibc's malloc.h

# What of a fingerprint may change the last bits of a result.
_BITS = ("torch", "torchvision", "numpy", "cuda", "device", "device_name", "cpu", "num_threads", "num_processes")


def resolve_device(text: str) -> torch.device:
    """`auto` (cuda, else mps, else cpu), `cpu`, `cuda`, `cuda:N` or `mps`; UserError when it is not there."""
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:\d{1,4})?", text):
        raise UserError(f"device {text!r} is not one of auto, cpu, cuda, cuda:N, mps")
    device = torch.device(text)
    if device.type == "cuda":
        num_devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if num_devices == 0:
            raise UserError(f"device {text!r}: PyTorch {torch.__version__} finds no GPU; try cpu or auto")
        if device.index is not None and device.index >= num_devices:
            raise UserError(f"device {text!r}: the last one here is cuda:{num_devices - 1}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device 'mps': PyTorch finds no Apple GPU here; try cpu or auto")
    return device


def prepare_device(text: str, deterministic: bool = False) -> torch.device:
    """The device of `resolve_device`, set up for speed, or for kernels that give the same bits each time."""
    device = resolve_device(device_of_rank(text))
    if device.type == "cuda":  # for all that asks for the current device
        torch.cuda.set_device(device)
    keep_freed_memory()
    torch.set_float32_matmul_precision("highest" if deterministic else "high")  # TF32 on CUDA
    torch.backends.cudnn.allow_tf32 = not deterministic
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if deterministic != torch.are_deterministic_algorithms_enabled():  # the call imports torch's compiler: 1 s
        torch.use_deterministic_algorithms(deterministic)
    return device


def keep_freed_memory() -> None:
    """Have glibc's malloc keep what is freed, up to 32 MB a piece, instead of handing it back to the system.

    Each step frees and takes the same tensors again; the page faults of fresh memory cost up to half of a CPU's time.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):  # musl has none
        libc.mallopt(M_MMAP_THRESHOLD, 32 * 2**20)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def describe_run(device: torch.device) -> dict:
    """What run.json tells of a run: the command, the code, the machine. Plain data."""
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return {"command": command, "git": git_state(Path(__file__).parent), **fingerprint(device)}


def fingerprint(device: torch.device) -> dict:
    """Plain data on what can change a result's bits and where it was made; for run.json and checkpoints."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a TorchVersion otherwise, which is no plain text
        "numpy": _version("numpy"),
        "torchvision": _version("torchvision"),
        "cuda": torch.version.cuda,
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_model(),
        "num_threads": torch.get_num_threads(),
        "num_processes": num_ranks(),
        "host": platform.node(),
        "system": platform.platform(),
        "cpu": cpu_model(),
    }


def warn_of_changes(before: object, now: dict) -> None:
    """Warns where a run goes on with another fingerprint than its checkpoint was made with."""
    before = {"num_processes": 1, **(before if isinstance(before, dict) else {})}  # an earlier version says none
    changed = [f"{name} {str(before.get(name))[:80]} -> {now[name]}" for name in _BITS if before.get(name) != now[name]]
    if changed:
        logger.warning(
            "this run goes on elsewhere than it was saved, so its last bits may differ from those of a run without "
            "interruption: %s",
            ", ".join(changed),
        )


@cache
def cpu_model() -> str:
    """The processor's name as the system gives it, e.g. "AMD EPYC 9654"; its architecture where it gives none."""
    if sys.platform.startswith("linux"):
        text = Path("/proc/cpuinfo").read_text(errors="replace")
        if found := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()


def git_state(folder: str | Path = ".") -> dict:
    """{"commit": str, "dirty": bool} of the repository around `folder`; None without git or a repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain")
    return {"commit": commit, "dirty": None if commit is None or changes is None else changes != ""}


def _git(folder: str | Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return finished.stdout.strip() if finished.returncode == 0 else None


def _version(package: str) -> str | None:
    """The installed version without importing the package, which torchvision makes a second long."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
