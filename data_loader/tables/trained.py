"""Read a table for a model that is trained: its columns are what they were in training, whatever else it holds."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy

from config.problems import nearest
from data_loader.splitting import keys_of
from data_loader.tables.columns import read_rows
from data_loader.tables.files import Table
from data_loader.tables.fit import Choices
from data_loader.tables.rows import Rows
from utils.errors import UserError


def read_as_trained(
    table: Table,
    preprocessing: dict[str, Any],
    decimal: str | None,
    day_first: bool | None,
    divides: bool,
    has_target: bool = True,
) -> tuple[Rows, list[str]]:
    """The rows of a table, and what to say of it. UserError with all columns that are not there.

    divides: whether parts are taken of it, as they were in training. has_target: whether its column is needed.
    """
    columns = [*preprocessing["columns"], *([preprocessing["target"]] if has_target else [])]
    needed = [column["name"] for column in columns]
    if divides and preprocessing["group"]:
        needed.append(preprocessing["group"])
    apart = {preprocessing["id"], preprocessing["group"]} - {None}
    choices, target = preprocessing["choices"], preprocessing["target"]["name"]
    known = {*needed, *apart, *preprocessing["left_out"], *choices["ignore"], target}
    extra = [name for name in table.names if name not in known]
    if lacking := [name for name in needed if name not in table.names]:
        raise UserError("\n".join(_lacking(table, name, extra) for name in lacking))
    plain = {column["name"] for column in columns if column["kind"] == "number" and not column["is_wide"]}
    as_text = (set(needed) - plain) | apart
    trained = preprocessing["decimal"], preprocessing["delimiter"]
    rows = read_rows(table, as_text, decimal, day_first, trained)
    shown = ", ".join(map(repr, extra[:10])) + (", ..." if len(extra) > 10 else "")
    is_told = extra and choices["features"] is None  # else they were not asked for in training either
    notes = [f"{table.path}: columns the model does not know, not used: {shown}"] if is_told else []
    return rows, [*table.notes, *notes]


def check_choices(preprocessing: dict[str, Any], choices: Choices) -> None:
    """UserError for each choice that the model was trained with otherwise: it would change nothing."""
    asked = choices._asdict()
    wrong = [
        f"dataset.args.{name}: found {asked[name]}, but the model was trained with {value}; leave it out"
        for name, value in preprocessing["choices"].items()
        if asked[name] != value
    ]
    if wrong:
        raise UserError("\n".join(wrong))


def digest_of(rows: Rows, preprocessing: dict[str, Any], chosen: numpy.ndarray) -> str:
    """A digest of what some rows are known by, in any order."""
    ids = rows.texts.get(preprocessing["id"])
    keys = rows.keys[chosen] if ids is None or ids.has_missing else keys_of(ids.of(chosen))
    return digest_of_keys(keys)


def digest_of_keys(keys: numpy.ndarray) -> str:
    """A digest of numbers, in any order."""
    return blake2b(numpy.sort(keys).tobytes(), digest_size=16).hexdigest()


def _lacking(table: Table, name: str, extra: list[str]) -> str:
    near = nearest(name, extra)
    renamed = f"; is it the one called '{near[0]}' now?" if near else ""
    return f"{table.path}: no column '{name}', which the model was trained with{renamed}"
