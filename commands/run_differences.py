"""In what runs differ, and which of them have a value: for runs.py."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from commands.run_records import Record, plain_value

# What differs from run to run without a meaning for its scores.
NO_DIFFERENCE = ("name", "trainer.save_dir", "trainer.progress")


def differences_among(runs: Iterable[Record]) -> list[str]:
    """The keys whose values are not the same in all of these configs; those that are broken do not count."""
    configs = [run.config for run in runs if run.config]
    keys = dict.fromkeys(key for config in configs for key in config)
    return [key for key in keys if key not in NO_DIFFERENCE and len({config.get(key) for config in configs}) > 1]


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Keys as they are shown: the last part, where it says enough and no other ends so."""
    keys = list(keys)
    lasts = [key.split(".")[-1] for key in keys]
    return {
        key: key.replace(".args.", ".") if lasts.count(last) > 1 or last in ("type", "name") or last.isdigit() else last
        for key, last in zip(keys, lasts, strict=True)
    }


def matching(runs: Iterable[Record], key: str, value: str) -> Iterator[Record]:
    """The runs whose name, id, status, or key of the config has this value: 1e-3 is 0.001, but 1 is not true."""
    wanted = plain_value(value)
    for run in runs:
        text = value_of(run, key)
        if text is not None:
            found = plain_value(text)
            if text == value or (found == wanted and isinstance(found, bool) is isinstance(wanted, bool)):
                yield run


def value_of(run: Record, key: str) -> str | None:
    """What `--filter` and `--sort` look at."""
    return getattr(run, key) if key in ("name", "id", "status") else run.config.get(key)
