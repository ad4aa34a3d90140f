"""Charts, drawn on the server: SVG in the page, coloured by its style sheet, with no script and no style."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any
from xml.etree import ElementTree as ET

from attrs import frozen
from markupsafe import Markup

_SVG = "{http://www.w3.org/2000/svg}"
_DRAWN = frozenset({"svg", "g", "rect", "path", "text", "title"})
"""What is taken over from the library's drawing; its styles, scripts and notes for scripts are not."""
_KEPT = frozenset({"viewBox", "class", "transform", "x", "y", "width", "height", "rx", "ry", "d"})
_WIDTH, _HEIGHT, _TEXT = 420, 230, 13
_MOST_LABELS, _MOST_MARKS = 5, 5


@frozen(kw_only=True)
class Chart:
    """Columns over time, one upon the other.

    Attributes:
        name: what it shows, for those who do not see it.
        labels: of the columns.
        series: words -> one height for each column; what goes away is below zero.
        write: how a height is written.

    """

    name: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float]]
    write: Callable[[float], str] = "{:g}".format

    @property
    def legend(self) -> Sequence[str]:
        """The names of the series, in the order of their colours."""
        return tuple(self.series)


def draw(chart: Chart) -> Markup:
    """Return a chart as an element of HTML; a pointer on a column is told what it is."""
    root = ET.fromstring(_columns(chart).render(is_unicode=True))  # noqa: S314  # written by the library in this process, from numbers and our words
    shown = _taken_over(root, chart)
    shown.remove(shown[0])  # its title: the name is said by the label
    shown.set("role", "img")
    shown.set("aria-label", chart.name)
    return Markup(ET.tostring(shown, encoding="unicode"))  # noqa: S704  # serialised: texts and attributes are escaped


def _columns(chart: Chart) -> Any:
    pygal = _library()
    every = max(1, -(-len(chart.labels) // _MOST_LABELS))
    style = pygal.style.Style(label_font_size=_TEXT, major_label_font_size=_TEXT)
    columns = pygal.StackedBar(
        width=_WIDTH,
        height=_HEIGHT,
        margin=4,
        spacing=6,
        style=style,
        js=(),
        css=(),
        no_prefix=True,
        disable_xml_declaration=True,
        show_legend=False,
        print_values=False,
        value_formatter=chart.write,
        x_labels=list(chart.labels),
        x_labels_major=list(chart.labels[::every]),
        show_minor_x_labels=False,
        truncate_label=-1,
        y_labels=_marks(chart),
    )
    for name, heights in chart.series.items():
        columns.add(name, list(heights))
    return columns


def _marks(chart: Chart) -> list[float]:
    """Return round numbers beside the columns, from the lowest to the highest and with zero among them."""
    stacks = list(zip(*chart.series.values(), strict=True))
    high = max((sum(height for height in stack if height > 0) for stack in stacks), default=0.0)
    low = min((sum(height for height in stack if height < 0) for stack in stacks), default=0.0)
    reach = high - low
    if not reach:
        return [0.0, 1.0]
    size = 10.0 ** math.floor(math.log10(reach / _MOST_MARKS))
    step = next(size * times for times in (1, 2, 5, 10) if reach / (size * times) <= _MOST_MARKS)
    return [step * n for n in range(math.floor(low / step), math.ceil(high / step) + 1)]


def _taken_over(found: ET.Element, chart: Chart, series: str = "") -> ET.Element:
    """Return a copy of what is drawn, without namespaces: HTML knows what is inside ``svg``."""
    copy = ET.Element(found.tag.removeprefix(_SVG))
    copy.text, copy.tail = found.text, None
    for name, value in found.attrib.items():
        if name in _KEPT:
            copy.set(name, value)
    series = next((part for part in copy.get("class", "").split() if part.startswith("serie-")), series)
    for child in found:
        if child.tag.removeprefix(_SVG) in _DRAWN and not _is_empty(child):
            copy.append(_taken_over(child, chart, series))
    if copy.get("class") == "bar" and series:
        title = ET.SubElement(copy, "title")
        title.text = _told(found, chart.legend[int(series.removeprefix("serie-"))])
    return copy


def _is_empty(element: ET.Element) -> bool:
    """Whether this is a column without any height, or a layer on which scripts would write."""
    words = element.get("class") or ""
    column = element.find(f"{_SVG}rect") if words == "bar" else None
    return "overlay" in words or (column is not None and not float(column.get("height", "0")))


def _told(bar: ET.Element, series: str) -> str:
    notes = {(note.get("class") or ""): note.text or "" for note in bar.iter(f"{_SVG}desc")}
    return f"{notes.get('x_label', '')} {series}: {notes.get('value', '')}".strip()


@cache
def _library() -> Any:
    """Return the library that draws.

    Its import puts a finder for plugins among those of the process, of a kind that Python has given up: each later
    import would warn, and the host did not ask for that. What this import put there is taken away again.
    """
    known = list(sys.meta_path)
    import pygal  # type: ignore[import-untyped]  # has no types

    sys.meta_path[:] = [finder for finder in sys.meta_path if finder in known or type(finder).__module__ != "pygal"]
    return pygal
