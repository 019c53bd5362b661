"""More samples must not cost more a step, nor more than two seconds at the start."""

from functools import partial
from statistics import median
from typing import Any

from benchmarks.harness import Result, Row, clock, in_a_process, interleaved

NUM_STEPS = 300


def config_of(num_samples: int) -> dict[str, Any]:
    return {
        "dataset": {"type": "Synthetic", "args": {"shape": [16], "size": num_samples, "num_classes": 4}},
        "data_loader": {"batch_size": 32, "validation_split": 0},
        "model": {"type": "LinearRegression", "args": {"in_features": 16, "out_features": 4}},
        "loss": {"type": "CrossEntropyLoss"},
        "metrics": [{"type": "accuracy"}],
        "optimizer": {"type": "SGD", "args": {"lr": 0.01}},
        "trainer": {"epochs": 1, "monitor": "off", "tensorboard": False, "progress": False},
    }


def measure(num_samples: int) -> tuple[float, float]:
    """Seconds from the config to the end of the first step, and microseconds a step after it."""
    from itertools import islice

    from benchmarks.template import first_step

    first_step(config_of(1000))  # imports
    start_up, trainer = first_step(config_of(num_samples))
    batches = trainer.train_loader.batches()
    next(batches)
    start = clock()
    for batch in islice(batches, NUM_STEPS):
        trainer.train_step([batch])
    return start_up, (clock() - start) / NUM_STEPS * 1e6


def run(rounds: int, scale: float) -> Result:
    sizes = [size for size in (10**4, 10**5, 10**6, 10**7) if size <= 10**7 * scale]
    measured = interleaved({size: partial(in_a_process, "scale", "measure", size) for size in sizes}, rounds, False)
    steps = {size: median(step for _, step in pairs) for size, pairs in measured.items()}
    rows = []
    for size in sizes:
        start_up = median(seconds for seconds, _ in measured[size])
        relative = steps[size] / steps[sizes[0]]
        shown = f"start-up {start_up:.2f} s, {steps[size]:.0f} us a step ({relative:.2f} x)"
        rows.append(Row(f"{size:,} samples", shown, "start-up < 2 s, step flat", start_up < 2 and relative < 1.15))
    return Result(f"Synthetic samples, shuffled, imports done; {NUM_STEPS} steps, median of {rounds} processes.", rows)
