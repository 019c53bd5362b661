"""Resuming near the end of a long epoch against starting it."""

from functools import partial
from statistics import median

from benchmarks.harness import Result, Row, difference, in_a_process, interleaved
from benchmarks.scale import config_of


def measure(num_samples: int, share: float) -> float:
    """Seconds from the config to the end of the first step, at this share of the epoch."""
    from benchmarks.template import first_step

    first_step(config_of(1000))  # imports
    return first_step(config_of(num_samples), step=int(num_samples // 32 * share))[0]


def run(rounds: int, scale: float) -> Result:
    num_samples = int(10**7 * scale)
    places = {"start": 0, "resume": 0.95}
    seconds = interleaved(
        {name: partial(in_a_process, "resume", "measure", num_samples, share) for name, share in places.items()},
        rounds,
        warm_up=False,
    )
    starting, more = median(seconds["start"]), difference(seconds, "resume", "start")
    rows = [
        Row("starting", f"{starting:.2f} s"),
        Row("resuming at 95 % of the epoch", f"{more:+.2f} s", "< 1 s more", more < 1),
    ]
    return Result(f"{num_samples:,} synthetic samples, to the end of the first step, median of {rounds} pairs.", rows)
