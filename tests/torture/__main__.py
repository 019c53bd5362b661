"""python -m tests.torture NAME ... [--experiment NAME] [--count N]: exit code 0 when nothing was lost."""

import argparse
import importlib
import itertools
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

# Those that look at what a run does with its data; for the others, one run is as good as another.
OF_ANY_EXPERIMENT = {
    "kill", "stop-everywhere", "chain", "signals", "damage", "workers", "replay", "ranks", "ranks-stop", "ranks-fsdp",
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    from tests.torture.domains import EXPERIMENTS

    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("names", nargs="+", choices=[*TORTURES, "all"], metavar="NAME", help=", ".join(TORTURES))
    parser.add_argument("--experiment", choices=[*EXPERIMENTS, "all"], default="pictures", help="what is tormented")
    parser.add_argument("--count", type=int, help="how many, for those that draw at random; default: as documented")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the runs in this folder; default: a temporary one")
    options = parser.parse_args(argv)
    experiments = EXPERIMENTS if options.experiment == "all" else [options.experiment]
    names = TORTURES if "all" in options.names else options.names
    if [*experiments] != ["pictures"] and (others := {*names} - OF_ANY_EXPERIMENT):
        parser.error(f"{', '.join(sorted(others))}: for the experiment pictures alone")
    from tests.torture.harness import warm_up

    # Not a TemporaryDirectory: each fork would remove it at its end.
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="torture-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    warm_up(folder)
    cases = itertools.product(experiments, names)
    try:
        return 0 if all([torment(*case, folder, options.count, options.seed) for case in cases]) else 1
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


def torment(experiment: str, name: str, folder: Path, count: int | None, seed: int) -> bool:
    from tests.torture.domains import EXPERIMENTS
    from tests.torture.experiment import here

    module, full_count = TORTURES[name]
    label = name if experiment == "pictures" else f"{experiment} {name}"
    here.changes = EXPERIMENTS[experiment].prepared(folder / "data" / experiment)
    started = time.monotonic()
    torture = getattr(importlib.import_module(f"tests.torture.{module}"), name.replace("-", "_"))
    tally = torture(folder / label.replace(" ", "/"), count or full_count, seed)
    counts = ", ".join(f"{number} {what}" for what, number in tally.counts.items())
    verdict = f"{len(tally.failures)} FAILED" if tally.failures else "passed"
    print(f"{label}: {verdict}; {counts}; {time.monotonic() - started:.0f} s", flush=True)
    return not tally.failures


if __name__ == "__main__":
    sys.exit(main())
