"""Charts of the desk: what is drawn, what is never in them, and what drawing leaves behind in the process."""

from __future__ import annotations

import contextlib
import importlib
import sys
from xml.etree import ElementTree as ET

import forks
from evmbilling.integrations.pages.charts import Chart, draw

EVIL = "<b>&'\""


def drawn(**series):
    labels = [f"2030-{month:02}" for month in range(1, 1 + len(next(iter(series.values()))))]
    return ET.fromstring(draw(Chart(name="What moved", labels=labels, series=series)))


def bars(root, series):
    return {
        title.text: float(bar.find("rect").get("height"))
        for bar in root.find(f".//g[@class='series serie-{series} color-{series}']").iter("g")
        if (title := bar.find("title")) is not None
    }


def test_columns_are_as_high_as_their_numbers_and_say_what_they_are():
    root = drawn(new=[1.0, 2.0, 0.0], churn=[0.0, -1.0, -4.0])
    new, churn = bars(root, 0), bars(root, 1)
    assert list(new) == ["2030-01 new: 1", "2030-02 new: 2"]
    assert list(churn) == ["2030-02 churn: -1", "2030-03 churn: -4"]
    unit = new["2030-01 new: 1"]
    for column, height in [*new.items(), *churn.items()]:
        assert abs(height - unit * abs(float(column.rpartition(" ")[2]))) < unit / 1000
    marks = [text.text for text in root.find(".//g[@class='axis y always_show']").iter("text")]
    assert marks == ["-4", "-2", "0", "2"]
    assert (root.get("role"), root.get("aria-label")) == ("img", "What moved")


def test_nothing_in_a_chart_is_code_a_style_or_from_elsewhere():
    chart = Chart(name=EVIL, labels=[EVIL, "b"], series={EVIL: [1.0, 2.0], "javascript:alert(1)": [0.5, 0.0]})
    text = draw(chart)
    root = ET.fromstring(text)
    tags = {element.tag for element in root.iter()}
    names = {name for element in root.iter() for name in element.attrib}
    assert tags <= {"svg", "g", "rect", "path", "text", "title"}
    assert names <= {
        "role",
        "aria-label",
        "viewBox",
        "class",
        "transform",
        "x",
        "y",
        "width",
        "height",
        "rx",
        "ry",
        "d",
    }
    assert EVIL not in text
    assert root.get("aria-label") == EVIL
    assert f"{EVIL} {EVIL}: 1" in [title.text for title in root.iter("title")]


def test_tiny_and_huge_amounts_are_drawn():
    for amount in (1e-18, 1.0, 1e30):
        (height,) = bars(drawn(revenue=[amount]), 0).values()
        assert height > 10


def test_the_process_imports_as_before():
    """The library would have each later import warn of its finder, which the host did not ask for."""
    done = forks.run(draw_and_import)
    assert (done.returncode, done.stdout, done.stderr) == (0, "as before\n", "")


def draw_and_import():
    assert "pygal" not in sys.modules
    draw(Chart(name="a", labels=["b"], series={"c": [1.0]}))
    assert "pygal" in sys.modules
    assert all(hasattr(finder, "find_spec") for finder in sys.meta_path)
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("nothing_is_called_like_this")
    sys.stdout.write("as before\n")
