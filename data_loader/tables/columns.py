"""What the columns of a table are: which are used, what kind each is, and what cannot be told or is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from config.problems import nearest
from data_loader.tables.cells import (
    DATES,
    EXPECTED,
    as_days,
    as_numbers,
    as_plain_numbers,
    as_shares,
    as_times,
    as_truth,
    canonical,
)
from data_loader.tables.csv_table import MOST_TOLD
from data_loader.tables.files import Table
from data_loader.tables.rows import NUMBERS_THE_ROWS, Rows, lines_told
from utils.errors import UserError

if TYPE_CHECKING:
    from polars import Series

MOST_FOUND_CATEGORIES = 100
IS_CALLED_ID = re.compile(r"(.*[\W_])?(?i:id|uuid|guid)|.*[a-z](Id|ID)")


class Kind(NamedTuple):
    """What a column holds: a kind of EXPECTED, or category; of dates, how they are written."""

    kind: str
    form: str | None = None


def check_names(table: Table, asked: dict[str, Iterable[str]]) -> None:
    """UserError with every name in `asked`, by the argument it stands in, that no column has."""
    wrong = []
    for argument, names in asked.items():
        for name in names:
            if name not in table.names:
                near = nearest(name, table.names)
                hint = f"; did you mean '{near[0]}'?" if near else ""
                wrong.append(f"{table.path}: no column '{name}' ({argument}){hint}")
    if wrong:
        is_headless = all(as_number_name(name) for name in table.names[:3])
        shown = ", ".join(table.names[:30]) + (", ..." if len(table.names) > 30 else "")
        hint = "\nIts first line holds numbers: does the file lack a header?" if is_headless else ""
        raise UserError("\n".join(wrong) + f"\nColumns: {shown}{hint}")


def as_number_name(name: str) -> bool:
    """Whether the name of a column is a number, as where a file begins with its first row."""
    return re.fullmatch(r"-?\d+(\.\d+)?", name) is not None


def read_rows(
    table: Table,
    as_text: set[str],
    decimal: str | None,
    day_first: bool | None,
    trained: tuple[str | None, str | None] | None = None,
) -> Rows:
    """The rows of a table with what `found_decimal`, which see, says of their texts."""
    rows = Rows(table, as_text, day_first)
    decimal = found_decimal(rows, decimal, trained)
    if decimal == "," and rows.pointed - rows.texts.keys():  # where a point divides groups of digits
        rows = Rows(table, set(table.names) if rows.has_points else {*rows.texts, *rows.pointed}, day_first)
    rows.decimal = decimal
    return rows


def found_decimal(rows: Rows, asked: str | None, trained: tuple[str | None, str | None] | None) -> str:
    """The decimal mark of the table's texts, from all its columns together. UserError where they do not tell.

    asked: the user's; trained: decimal mark and delimiter of the training file.
    """
    if asked is not None:
        return asked
    proofs = {".": rows.has_points and "its numbers", ",": None}
    unclear = next(iter(sorted(rows.pointed)), None) if not rows.has_points else None
    for name in sorted(rows.texts.keys() - rows.typed):
        different = rows.texts[name].different
        if not different.str.contains(r"^[+-]?[\d.,]").any():
            continue
        bare = different.str.strip_suffix("%").str.strip_chars()
        num_read = {mark: as_numbers(bare, mark).count() for mark in (".", ",")}
        best = max(num_read, key=num_read.get)
        if num_read[best] * 2 < len(different):
            continue
        if num_read["."] != num_read[","]:
            proofs[best] = proofs[best] or f"column '{name}'"
        elif different.str.contains(r"^[+-]?[1-9]\d{0,2}[.,]\d{3}$").any():
            unclear = unclear or name
    if proofs["."] and proofs[","]:
        raise UserError(
            f"{rows.table.path}: {proofs['.']} have a decimal point, {proofs[',']} a decimal comma: "
            "set dataset.args.decimal to '.' or ','"
        )
    if proofs[","]:
        return ","
    delimiter = rows.table.delimiter
    if unclear and not proofs["."] and delimiter not in (None, ","):
        if trained and trained[0] and trained[1] == delimiter:
            return trained[0]
        raise UserError(
            f"{rows.table.path}: column '{unclear}' can be read with a decimal point or a decimal comma (1.234 is 1234 "
            "with the latter), and no other column tells: set dataset.args.decimal to '.' or ','"
        )
    return "."


def found_kind(rows: Rows, name: str) -> tuple[Kind, list[str]]:
    """What a column of texts holds, and what is wrong with it: where half are numbers or dates, all must be."""
    texts = rows.texts[name]
    decimal = rows.decimal_of(name)
    different = texts.different
    if not len(different):
        return Kind("number"), []
    count = texts.counts()[:-1]
    readers = {
        Kind("boolean"): lambda: as_truth(different),
        Kind("percentage"): lambda: as_shares(different, decimal),
        Kind("number"): lambda: as_numbers(different, decimal),
        Kind("time"): lambda: as_times(different),
        **{
            Kind("date", form): lambda form=form: as_days(different, form)
            for form in _possible_forms(different.gather((-count).argsort(stable=True)[:20]))
        },
    }
    shares = {}
    for kind, read in readers.items():
        shares[kind] = count[read().is_not_null().to_numpy()].sum() / count.sum()
    shares[Kind("boolean")] = float(shares[Kind("boolean")] == 1)
    best = max(shares, key=shares.get)
    if shares[best] >= 0.5:
        if best.kind == "date":
            equal = [kind for kind in shares if shares[kind] == shares[best]]
            best = _day_or_month_first(rows, name, different, equal)
        is_wrong = texts.spread(readers[best]().is_null().to_numpy(), missing=False)
        hint = f"{EXPECTED[best.kind]}, as much of the column is (or name it in dataset.args.categorical or ignore)"
        return best, lines_told(rows.table, texts, is_wrong, hint, MOST_TOLD)
    other = "," if decimal == "." else "."
    is_other = as_numbers(different, other).is_not_null().to_numpy()
    if count[is_other].sum() * 2 >= count.sum():
        expected = f"a number with the decimal mark '{decimal}' (or set dataset.args.decimal to '{other}')"
        return Kind("number"), lines_told(rows.table, texts, texts.spread(is_other, missing=False), expected, MOST_TOLD)
    if canonical(different).n_unique() > MOST_FOUND_CATEGORIES:
        example = different.min()
        return Kind("category"), [
            f"{rows.table.path}: column '{name}' holds {len(different)} different texts, such as '{example}': leave it "
            "out with dataset.args.ignore, or name it in dataset.args.categorical to one-hot encode it all the same"
        ]
    return Kind("category"), []


def _possible_forms(commonest: Series) -> list[str]:
    """The ways to write a date that may fit most of the texts; the commonest rule most of them out."""
    return [form for form in DATES if commonest.str.contains(f"^{DATES[form]}(?:[T ].*)?$").sum() * 2 >= len(commonest)]


def _day_or_month_first(rows: Rows, name: str, different: Series, kinds: Sequence[Kind]) -> Kind:
    """The one kind of dates left. UserError where 01/02/2024 is January or February, and nothing tells."""
    if rows.day_first is not None:
        kinds = [kind for kind in kinds if kind.form.startswith("%d") == rows.day_first] or kinds
    if len(kinds) > 1 and not as_days(different, kinds[0].form).equals(as_days(different, kinds[1].form)):
        raise UserError(
            f"{rows.table.path}: column '{name}': '{different[0]}' may begin with the day or the month, and no other "
            "date of the column tells: set dataset.args.day_first to true or false"
        )
    return kinds[0]


def is_unique(rows: Rows, name: str) -> bool:
    """Whether a column of texts says of each row which it is: all different, none missing, whole numbers or texts."""
    texts = rows.texts[name]
    if texts.has_missing or len(texts.different) < len(rows):
        return False
    numbers = as_plain_numbers(texts.different)
    return numbers.null_count() > 0 or bool((numbers == numbers.round()).all())


def numbers_the_rows(name: str) -> bool:
    return NUMBERS_THE_ROWS.fullmatch(name) is not None


def is_called_id(name: str) -> bool:
    return IS_CALLED_ID.fullmatch(name) is not None
