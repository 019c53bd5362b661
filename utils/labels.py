"""Names from data as they can be drawn: in a font that has their letters, cut to a length, never taken for formulas."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import cache

# Tried first, in this order; then every other font that is installed.
_USUAL_FONTS = ("Noto Sans CJK JP", "Noto Sans", "Nanum", "Malgun", "Apple SD", "Source Han Sans", "Hiragino Sans",
                "PingFang", "Yu Gothic", "Microsoft YaHei", "WenQuanYi", "IPA", "Droid Sans Fallback",
                "Arial Unicode")  # fmt: skip


class Labels:
    """The names of classes, labels or columns, as pictures show them.

    A name with a letter that no installed font has is drawn as `#` and its number, from 0.
    """

    def __init__(self, names: Sequence[str]):
        printable = ["".join(c if c.isprintable() else " " for c in name).strip() for name in names]
        self._families, missing = _fonts_for(set().union(*printable))
        self.numbered = [i for i, name in enumerate(printable) if not name or missing.intersection(name)]
        self._names = list(printable)
        for i in self.numbered:
            self._names[i] = f"#{i}"

    def cut(self, width: int) -> list[str]:
        """Each name in at most so many columns. Names that would look the same get their number in front."""
        labels = [shortened(name, width) for name in self._names]
        uses = Counter(labels)
        return [
            label if uses[label] == 1 else shortened(f"#{i} {name}", width)
            for i, (label, name) in enumerate(zip(labels, self._names, strict=True))
        ]

    def lettering(self) -> AbstractContextManager:
        """Within it, matplotlib draws and saves text in these fonts, and takes no `$` for a formula."""
        from matplotlib import rc_context

        settings = {"text.parse_math": False}
        return rc_context(settings | {"font.family": self._families} if self._families else settings)


def shortened(name: str, width: int) -> str:
    """At most `width` columns of a name, of which wide letters (한, 漢) take two.

    It is cut in its middle: beginnings and ends are where names differ.
    """
    if columns_of(name) <= width:
        return name
    head, tail, left = 0, len(name), width - 1
    while head < tail:
        is_heads_turn = columns_of(name[:head]) <= columns_of(name[tail:])
        letter = name[head] if is_heads_turn else name[tail - 1]
        if (left := left - columns_of(letter)) < 0:
            break
        head, tail = (head + 1, tail) if is_heads_turn else (head, tail - 1)
    return f"{name[:head].rstrip()}…{name[tail:].lstrip()}"


def columns_of(text: str) -> int:
    """How wide a text is, in letters of the Latin alphabet."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def _fonts_for(letters: set[str]) -> tuple[list[str], set[str]]:
    """Font families that have these letters, matplotlib's own first, and the letters that no font has.

    No family where nothing else than ASCII is asked for: that takes no time.
    """
    missing = {letter for letter in letters if not letter.isascii()}
    if not missing:
        return [], set()
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont

    families = list(rcParams["font.family"])
    missing -= _letters_in(str(findfont(FontProperties())), missing)
    for listed in (_known_fonts, _new_fonts):
        for family, path in listed() if missing else ():
            if missing and (found := _letters_in(path, missing)):
                families.append(family)
                missing -= found
    return families, missing


@cache
def _known_fonts() -> list[tuple[str, str]]:
    """Family and file of the upright fonts that matplotlib knows, the usual ones first."""
    from matplotlib.font_manager import fontManager

    def rank(family: str) -> int:
        return next((i for i, usual in enumerate(_USUAL_FONTS) if family.startswith(usual)), len(_USUAL_FONTS))

    # A last-resort font has a box for every letter.
    upright = [font for font in fontManager.ttflist if font.style == "normal" and "Last" not in font.name]
    upright.sort(key=lambda font: (rank(font.name), font.name, font.weight != 400))
    first_of = {}
    for font in upright:
        first_of.setdefault(font.name, str(font.fname))
    return list(first_of.items())


@cache
def _new_fonts() -> list[tuple[str, str]]:
    """Those that have been installed since matplotlib made its list, which it keeps from process to process."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    before = _known_fonts()
    for path in {*findSystemFonts()} - {str(font.fname) for font in fontManager.ttflist}:
        with suppress(OSError, RuntimeError):  # of a kind that it cannot draw
            fontManager.addfont(path)
    _known_fonts.cache_clear()
    return [font for font in _known_fonts() if font not in before]


def _letters_in(path: str, letters: Iterable[str]) -> set[str]:
    from matplotlib.ft2font import FT2Font

    try:
        font = FT2Font(path)
    except (OSError, RuntimeError):  # gone since matplotlib has listed it, or of a kind that it cannot draw
        return set()
    return {letter for letter in letters if font.get_char_index(ord(letter))}
