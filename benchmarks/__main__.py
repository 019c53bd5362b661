"""Run a benchmark: python -m benchmarks epoch-mnist"""

from __future__ import annotations

import argparse
import importlib
import os

from benchmarks import against
from benchmarks.harness import CPU_TIME, keep, table

NAMES = (
    *("epoch-mnist", "epoch-cifar", "folder", "overhead", "table", "startup", "resume", "memory"),
    *("checkpoint", "evaluation", "scale", "processes", "gpu", "export", "language"),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure this project against others.")
    parser.add_argument("name", choices=(*NAMES, "all"))
    parser.add_argument("--rounds", type=int, default=5, help="median of so many (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full amount of work (default: 1)")
    parser.add_argument("--quick", action="store_true", help="seconds of work, to see that it runs; keeps no result")
    parser.add_argument(
        "--cpu-time", action="store_true", help="count CPU seconds on one thread: for a machine that is busy"
    )
    parser.add_argument(
        "--against",
        metavar="COMMIT_OR_FOLDER",
        help=f"this checkout and another in turn, in one run ({', '.join(against.NAMES)}); keeps no result",
    )
    options = parser.parse_args()
    if options.cpu_time:
        os.environ |= {CPU_TIME: "1", "OMP_NUM_THREADS": "1"}  # before torch is imported
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    rounds, scale = (1, 0.01) if options.quick else (options.rounds, options.scale)
    if options.against:
        for name in against.NAMES if options.name == "all" else [options.name]:
            print(table(name, against.run(name, options.against, rounds, scale)))
        return
    for name in NAMES if options.name == "all" else [options.name]:
        benchmark = importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
        section = table(name, benchmark.run(rounds, scale))
        print(section)
        if not options.quick:
            keep(name, section)


if __name__ == "__main__":
    main()
