"""The table of a run on the terminal: a row an epoch, in the columns that its width has room for."""

from __future__ import annotations

from collections.abc import Mapping

HEADER_EVERY = 25  # rows
GAP = "  "
LONGEST_NAMES = (40, 10)  # in the header: long names where all metrics fit so, else short ones


class EpochTable:
    """Lays out one row after the other.

    A header comes before the first row, after every 25, and where the columns have changed: the terminal has become
    wider or narrower, a score has come up, or a number has grown. monitored: whose columns are the last to be left out.
    """

    def __init__(self, monitored: str | None = None):
        self.monitored = (monitored or "loss").removeprefix("val_")
        self._widths: dict[str, int] = {}  # of the cells, as far as they have grown
        self._header: str | None = None  # the last one told
        self._num_left_out = 0
        self._rows_since_header = 0

    def lines(self, cells: Mapping[str, str], is_best: bool, width: int) -> str:
        """A row, with a header before it where it needs one. cells: text by column; width: of the terminal."""
        for name, text in cells.items():
            self._widths[name] = max(len(text), self._widths.get(name, 0))
        titles, num_left_out = self._titles(width - 1)  # in the last column, some terminals begin a new line
        columns = {name: max(len(title), self._widths[name]) for name, title in titles.items()}
        header = _joined(titles, columns, " ")
        lines = [_joined({name: cells.get(name, "") for name in columns}, columns, "*" if is_best else " ")]
        if header != self._header or self._rows_since_header == HEADER_EVERY:
            self._header, self._rows_since_header = header, 0
            lines.insert(0, header)
        if num_left_out != self._num_left_out:
            self._num_left_out = num_left_out
            if num_left_out:
                lines.insert(0, f"no room for {num_left_out} of the metrics; metrics.csv has all")
        self._rows_since_header += 1
        return "\n".join(lines)

    def _titles(self, width: int) -> tuple[dict[str, str], int]:
        """The titles of the columns that fit, from left to right; and the number of metrics for which there is no room.

        What is less important goes first, also where it would fit by itself: columns are not to come and go.
        """
        scores = self._scores()
        for longest in LONGEST_NAMES:
            shown: dict[str, str] = {}
            groups = self._groups(scores)
            while groups:
                titles = {**shown, **{name: _title(name, groups[0], longest) for name in groups[0]}}
                if _width_of(titles, self._widths) > width:
                    break
                shown = titles
                groups.pop(0)
            num_left_out = sum(group[0] in scores for group in groups)
            if not num_left_out:
                break
        order = ["epoch", "step", *scores, *self._rates(), "samples/s", "left"]
        return {name: shown[name] for name in order if name in shown}, num_left_out

    def _groups(self, scores: list[str]) -> list[list[str]]:
        """The columns that stand or fall together, the most important first: a metric's two, and each other alone."""
        pairs: dict[str, list[str]] = {self.monitored: [], "loss": []}
        for name in scores:
            pairs.setdefault(name.removeprefix("val_"), []).append(name)
        first, *others = pairs.values()
        others.sort(key=len, reverse=True)  # what has validation goes before what is only logged
        rates = self._rates()
        ranked = [["epoch"], first, *others[:1], ["left"], *others[1:]]
        ranked += [[name] for name in (*rates[:1], "samples/s", "step", *rates[1:])]
        return [group for group in ranked if group and group[0] in self._widths]

    def _scores(self) -> list[str]:
        """Training and validation of one metric side by side."""
        names = [name for name in self._widths if name not in ("epoch", "step", "samples/s", "left", *self._rates())]
        metrics = list(dict.fromkeys(name.removeprefix("val_") for name in names))
        return sorted(names, key=lambda name: (metrics.index(name.removeprefix("val_")), name.startswith("val_")))

    def _rates(self) -> list[str]:
        return [name for name in self._widths if name == "lr" or name.startswith("lr/")]


def _title(name: str, group: list[str], longest: int) -> str:
    """`val` beside the metric's name; one that is too long is cut in the middle, as it differs least there."""
    if len(group) > 1 and name.startswith("val_"):
        return "val"
    return name if len(name) <= longest else f"{name[: (longest - 1) // 2]}..{name[1 - longest // 2 :]}"


def _width_of(titles: Mapping[str, str], widths: Mapping[str, int]) -> int:
    cells = sum(max(len(title), widths[name]) for name, title in titles.items())
    return cells + len(GAP) * (len(titles) - 1) + 1  # the mark


def _joined(cells: Mapping[str, str], widths: Mapping[str, int], mark: str) -> str:
    first, *others = (text.rjust(widths[name]) for name, text in cells.items())
    return GAP.join([f"{first}{mark}", *others]).rstrip()
