"""What a resumed run may change and what an evaluation may, and what they may not."""

from collections.abc import Iterator
from typing import Any

from .problems import ConfigError, Path, Problem, describe, dotted, in_file_order
from .schema import Config, TrainerConfig
from .yaml_reader import Document

# Length, place and reporting; everything else decides what the weights will be.
SAFE_TO_CHANGE = {
    *("device", "data_loader.num_workers"),
    "data_loader.skip_bad_samples",  # what could be read stays as it was
    *("trainer.epochs", "trainer.max_steps", "trainer.max_time", "trainer.early_stop", "trainer.save_dir"),
    *("trainer.save_every", "trainer.keep_last", "trainer.log_every", "trainer.loggers", "trainer.tensorboard"),
    "trainer.progress",
}

# What test.py makes use of, apart from the checkpoint: all else has had its effect, and the loss is in the state.
USED_IN_TEST = (
    *("dataset", "data_loader", "model", "metrics", "seed", "device"),
    *("trainer.precision", "trainer.deterministic"),
)


def refuse_changes(run: Config, asked: Config, document: Document) -> None:
    """ConfigError with every key in which `asked` (read from `document`) differs from the run's own config."""
    problems = []
    for path, old, new in _differences(run.model_dump(), asked.model_dump()):
        if dotted(path[:2]) not in SAFE_TO_CHANGE:
            remedy = "leave it as it is, or start a new run"
            message = f"found {describe(new)}, but the run to resume has {describe(old)}; {remedy}"
            problems.append(Problem(document.origin(path), path, message))
    if problems:
        raise ConfigError(in_file_order(problems))


def overrides_without_effect(document: Document) -> list[Problem]:
    """What is wrong with overrides that test.py would make nothing of; unknown keys are left to the schema."""
    problems = []
    for path, origin in document.origins.items():
        if origin == document.origins[()]:  # the checkpoint itself
            continue
        key = path[:2] if path[0] == "trainer" else path[:1]
        known = Config.model_fields if len(key) == 1 else TrainerConfig.model_fields
        if key[-1] in known and dotted(key) not in USED_IN_TEST:
            message = f"would change nothing in an evaluation; test.py takes: {', '.join(USED_IN_TEST)}"
            problems.append(Problem(origin, key, message))
    return problems


def _differences(old: Any, new: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _differences(old.get(key), new.get(key), (*path, key))
    elif old != new:
        yield path, old, new
