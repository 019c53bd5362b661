"""What a resumed run may change and what an evaluation may, and what they may not."""

import re
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

# Arguments of a dataset that say where its files are: they may change where the data are the same.
DATA_PATH = re.compile("root|path|annFile|ann_file|.*_path")

# What test.py makes use of, apart from the checkpoint: all else has had its effect, and the loss is in the state.
USED_IN_TEST = (
    *("dataset", "data_loader", "model", "metrics", "seed", "device"),
    *("trainer.precision", "trainer.deterministic"),
)


class _Missing:
    """Stands for a key or an item that one of two values lacks."""


def refuse_changes(run: Config, asked: Config, document: Document, data_may_move: bool) -> None:
    """ConfigError with every key in which `asked` (read from `document`) differs from the run's own config."""
    problems = []
    for path, old, new in differences(run.model_dump(), asked.model_dump()):
        is_moved = path[0] == "dataset" and path[1] in ("args", "split_args") and DATA_PATH.fullmatch(str(path[-1]))
        if not (dotted(path[:2]) in SAFE_TO_CHANGE or (is_moved and data_may_move)):
            changed = "missing" if new is _Missing else f"found {written(new)}"
            message = f"{changed}, but the run to resume has {written(old)}; leave it as it is, or start a new run"
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


def differences(old: Any, new: Any, path: Path = ()) -> Iterator[tuple[Path, Any, Any]]:
    """Where two values differ, as deep in them as it can be said: path, old and new."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from differences(old.get(key, _Missing), new.get(key, _Missing), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, items in enumerate(zip(old, new, strict=True)):
            yield from differences(*items, (*path, index))
    elif old != new:
        yield path, old, new


def written(value: Any) -> str:
    """A value as it would be written on one line, without what is null or empty in a mapping, cut where it is long."""
    if value is _Missing:
        return "none"
    if isinstance(value, dict):
        text = ", ".join(f"{key}: {written(item)}" for key, item in value.items() if item not in (None, {}, []))
        text = f"{{{text}}}"
    elif isinstance(value, list):
        text = f"[{', '.join(map(written, value))}]"
    else:
        text = describe(value)
    return text if len(text) <= 300 else f"{text[:300]}..."
