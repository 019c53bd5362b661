"""One HTML page that needs no other file. It is built as a tree, so that all text in it is escaped."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

from report.tables import shown, shown_share

_STYLE = Path(__file__).with_name("page.css")


def element(tag: str, *children: Element | str, **attributes: str) -> Element:
    """An HTML element; `class_` is its class."""
    made = Element(tag, {name.rstrip("_"): value for name, value in attributes.items()})
    for child in children:
        if isinstance(child, Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + child
        else:
            made.text = (made.text or "") + child
    return made


def section(title: str, *children: Element) -> Element:
    return element("section", element("h2", title), *children)


def paragraph(text: str) -> Element:
    return element("p", text)


def notes(texts: Iterable[str]) -> list[Element]:
    """What a reader should know before he believes a figure; nothing where there is nothing."""
    items = [element("li", text) for text in texts]
    return [element("ul", *items, class_="notes")] if items else []


def table(header: Sequence[str], rows: Iterable[Sequence[object]], shares: Iterable[int] = ()) -> Element:
    """Text to the left, numbers to the right. shares: columns of numbers from 0 to 1, shown as bars too."""
    shares, rows = {*shares}, list(rows)
    body = [element("tr", *(_cell(value, i in shares) for i, value in enumerate(row))) for row in rows]
    are_texts = [isinstance(value, str) for value in (rows[-1] if rows else header)]
    classes = ("" if is_text else "number" for is_text in are_texts)
    head = element("tr", *(element("th", name, class_=kind) for name, kind in zip(header, classes, strict=True)))
    return element("div", element("table", element("thead", head), element("tbody", *body)), class_="wide")


def _cell(value: object, is_share: bool) -> Element:
    if isinstance(value, str):
        return element("td", value)
    if not is_share:
        return element("td", f"{value:,}" if isinstance(value, int) else shown(value), class_="number")
    width = 0 if math.isnan(value) else 100 * value
    return element("td", shown_share(value), class_="number share", style=f"--share: {width:.1f}%")


def picture(path: Path, caption: str) -> Element:
    """A PNG within the page, so wide that the letters in all of them have about the size of the text."""
    data = path.read_bytes()
    width = int.from_bytes(data[16:20], "big")  # in pixels, of which there are 150 an inch
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    image = element("img", src=source, alt=caption, style=f"width: {0.75 * width:.0f}px")
    return element("figure", image, element("figcaption", caption))


def page(title: str, subtitle: str, sections: Iterable[Element]) -> bytes:
    """The whole page, UTF-8. What is no text, as in the name of a file, is written as its code."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", title),
        element("style", _STYLE.read_text(encoding="utf-8")),
    )
    header = element("header", element("h1", title), paragraph(subtitle))
    html = element("html", head, element("body", header, element("main", *sections)), lang="en")
    return ("<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html")).encode(errors="backslashreplace")
