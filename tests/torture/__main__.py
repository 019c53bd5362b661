"""python -m tests.torture NAME ... [--count N]: exit code 0 when nothing was lost."""

import argparse
import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, so that no thread is there to be forked

# name, which is also the function's: (module, full count)
TORTURES = {
    "kill": ("kill", 200), "stop-everywhere": ("stop", 21), "chain": ("kill", 20), "powerloss": ("powerloss", 10**6),
    "nospace": ("disk", 10**6), "signals": ("stop", 50), "damage": ("damage", 300), "nan": ("nonfinite", 20),
    "workers": ("variations", 4), "mismatch": ("variations", 1000), "hostile": ("hostile", 1000),
    "herd": ("variations", 50), "replay": ("variations", 3),
    "ranks": ("together", 20), "ranks-stop": ("together", 20), "ranks-fsdp": ("together", 20),
    "ranks-disk": ("together", 10**6), "ranks-network": ("network", 3),
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*TORTURES, "all"], metavar="NAME", help=", ".join(TORTURES))
    parser.add_argument("--count", type=int, help="how many, for those that draw at random; default: as documented")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the runs in this folder; default: a temporary one")
    options = parser.parse_args(argv)
    from tests.torture.harness import warm_up

    # Not a TemporaryDirectory: each fork would remove it at its end.
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="torture-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    warm_up(folder)
    names = TORTURES if "all" in options.names else options.names
    try:
        return 0 if all([torment(name, folder / name, options.count, options.seed) for name in names]) else 1
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def torment(name: str, folder: Path, count: int | None, seed: int) -> bool:
    module, full_count = TORTURES[name]
    started = time.monotonic()
    torture = getattr(importlib.import_module(f"tests.torture.{module}"), name.replace("-", "_"))
    tally = torture(folder, count or full_count, seed)
    counts = ", ".join(f"{number} {what}" for what, number in tally.counts.items())
    verdict = f"{len(tally.failures)} FAILED" if tally.failures else "passed"
    print(f"{name}: {verdict}; {counts}; {time.monotonic() - started:.0f} s", flush=True)
    return not tally.failures


if __name__ == "__main__":
    sys.exit(main())
