"""The pages of the reference that are written from the code are what the code says."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from evmbilling import BillingEngine
from evmbilling.errors import BillingError

WRITTEN = {
    "alert_docs": "alerts.md",
    "api_docs": "api.md",
    "command_docs": "commands.md",
    "database_docs": "database.md",
    "env_example": "../../.env.example",
    "error_docs": "errors.md",
    "event_docs": "events.md",
    "house_docs": "../../CONTRIBUTING.md",
    "http_docs": "http.md",
    "log_docs": "logs.md",
    "metric_docs": "metrics.md",
    "port_docs": "ports.md",
    "setting_docs": "settings.md",
    "state_docs": "subscription-states.md",
    "testing_docs": "testing.md",
}


@pytest.fixture
def tool(project, monkeypatch):
    """Import one of the tools, which find each other in their folder."""
    monkeypatch.syspath_prepend(project / "tools")
    return importlib.import_module


@pytest.mark.parametrize(("name", "page"), WRITTEN.items())
def test_page_is_what_the_code_says(tool, project, name, page):
    wanted = tool(name).render()
    assert (project / "docs/reference" / page).read_text() == wanted, f"run: python tools/{name}.py"


def test_every_tool_that_writes_a_page_is_tried(project):
    tools = {path.stem for path in (project / "tools").glob("*_docs.py")} | {"env_example"}
    assert tools - {"conformance_docs"} == set(WRITTEN)  # that one is tried with its kits


def test_page_that_is_not_up_to_date_is_noticed(tool, tmp_path, monkeypatch):
    written = tool("written")
    monkeypatch.setattr(written, "REFERENCE", tmp_path)
    written.keep("page.md", "new", tool="page_docs.py")
    monkeypatch.setattr("sys.argv", ["page_docs.py", "--check"])
    written.keep("page.md", "new", tool="page_docs.py")
    with pytest.raises(SystemExit, match=r"run: python tools/page_docs\.py"):
        written.keep("page.md", "newer", tool="page_docs.py")


def test_every_error_says_what_to_do(tool):
    errors = tool("error_docs")
    modules = (errors.errors, errors.problems, errors.guards)
    names = {kind.__name__ for kind in errors.classes_of(*modules)}
    assert "QuotaExceeded" in names
    assert names - errors.DO.keys() == set()


def test_tree_of_the_errors_is_the_tree_of_the_classes(tool):
    """Each class stands in the drawing below the class from which it comes."""
    errors = tool("error_docs").errors
    drawn, above = {}, []
    for line in errors.__doc__.splitlines():
        found = re.match(r"    (?P<branch>[│├└─ ]*)(?P<name>[A-Z]\w+)  ", line)
        if found:
            depth = len(found["branch"]) // 4
            above[depth:] = [found["name"]]
            drawn[found["name"]] = above[depth - 1] if depth else "Exception"
    known = {
        c.__name__: c.__base__.__name__
        for c in vars(errors).values()
        if inspect.isclass(c) and issubclass(c, BillingError)
    }
    assert drawn == known


def test_every_method_of_the_engine_is_on_the_page(tool):
    api = tool("api_docs")
    left_out = [kind.__name__ for kind in BillingEngine.__mro__ if api.public(kind) and kind not in api.ENGINE.values()]
    assert left_out == [], "say in tools/api_docs.py what these are for"
    assert {"engine.admin(actor)", "engine.finance(actor)", "engine.mandates"} <= api.desks().keys()


def public_calls(api):
    """Every public method of the engine and its desks, by the expression that calls it."""
    owners = {"engine": BillingEngine, **api.desks()}
    return {
        f"{expression}.{name}": function
        for expression, owner in owners.items()
        for name, function in api.public(owner, inherited=True).items()
    }


#: Parameters that select among what is there: a wrong one is an InputError, as the page says of all.
SELECTING = {"self", "cls", "actor", "limit", "after", "before", "states", "state", "scope", "network", "object_"}
SELECTING |= {"aggregate", "type_", "progress"}


def test_every_public_call_says_what_it_does_and_what_it_raises(tool):
    calls = public_calls(tool("api_docs"))
    assert len(calls) > 100
    silent = {name for name, function in calls.items() if not inspect.getdoc(function)}
    assert silent == set()
    unsaid = {
        name
        for name, function in calls.items()
        if set(inspect.signature(function).parameters) - SELECTING and "Raises:" not in inspect.getdoc(function)
    }
    assert unsaid == set()


def test_errors_that_docstrings_name_exist(tool):
    """A renamed error is renamed in the docstrings, too."""
    known = {kind.__name__ for kind in all_errors()}
    unknown = {
        f"{name}: {error}"
        for name, function in public_calls(tool("api_docs")).items()
        for error in raised(inspect.getdoc(function))
        if error not in known | {"BaseException"}
    }
    assert unknown == set()


def raised(doc):
    section = re.search(r"^Raises:\n((?:    .*\n?)*)", doc, re.MULTILINE)
    if section is None:
        return []
    names = re.findall(r"^    (\w[\w, ]*):", section[1], re.MULTILINE)
    return [name.strip() for several in names for name in several.split(",")]


def all_errors(kind=BillingError):
    return {kind, *(each for below in kind.__subclasses__() for each in all_errors(below))}


def test_docstring_becomes_markdown(tool):
    text = """Say it, as :class:`evmbilling.domain.money.Asset` does.

    ::

        run()

    Args:
        first, second: both. third: ``None`` for none,
            on two lines.

    Returns:
        What it was: all of it.

    Raises:
        NotFound: there is none.

    """
    shown = "\n".join(tool("docstrings").markdown(text))
    assert "Say it, as `Asset` does." in shown
    assert "```python no-run\nrun()\n```" in shown
    assert "* `first`, `second`: both.\n* `third`: `None` for none, on two lines.\n" in shown
    assert "Returns: What it was: all of it.\n" in shown
    assert "Raises:\n\n* `NotFound`: there is none." in shown
