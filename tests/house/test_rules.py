"""Rules of this project that a reader of the source can check."""

from __future__ import annotations

import ast
import re
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement

CLOCKS = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "monotonic"),
}
CORE = ("domain", "ports", "engine")


def modules(project, *packages):
    source = project / "src/evmbilling"
    folders = [source / package for package in packages] or [source]
    return [path for folder in folders for path in sorted(folder.rglob("*.py"))]


def offences(paths, is_offence, words=()):
    """Where the code offends; of ``words`` each offence holds one, and files without any are not parsed."""
    texts = {path: path.read_text() for path in paths}
    return [
        f"{path.name}:{node.lineno}"
        for path, text in texts.items()
        if not words or any(word in text for word in words)
        for node in ast.walk(ast.parse(text))
        if is_offence(node)
    ]


def called(node):
    """("time", "time") for ``time.time()``, ("", "float") for ``float()``."""
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Attribute):
        return getattr(node.func.value, "id", getattr(node.func.value, "attr", "")), node.func.attr
    return "", getattr(node.func, "id", "")


def imports(node, *names):
    if isinstance(node, ast.Import):
        return any(alias.name.partition(".")[0] in names for alias in node.names)
    return isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in names


def makes_float(node):
    if isinstance(node, ast.Constant):
        return isinstance(node.value, float)
    if isinstance(node, ast.AnnAssign):
        return any(getattr(part, "id", "") == "float" for part in ast.walk(node.annotation))
    return called(node) == ("", "float")


@pytest.mark.fault("N04")
@pytest.mark.fault("N05")
def test_n04_n05_core_makes_no_float(project):
    found = modules(project, "domain", "engine")
    assert len(found) > 10
    assert offences(found, makes_float) == []


@pytest.mark.fault("N04")
def test_n04_decimals_never_use_the_ambient_context(project):
    arithmetic = {"quantize", "normalize", "scaleb", "to_integral_value", "getcontext", "localcontext"}
    reached = {"getcontext", "setcontext"}

    def ambient(node):
        return isinstance(node, ast.Call) and (
            (called(node)[1] in arithmetic and "ontext" not in ast.dump(node)) or called(node)[1] in reached
        )

    assert offences(modules(project, *CORE), ambient, arithmetic | reached) == []


def test_core_reads_no_clock_and_no_environment(project):
    def outside(node):
        return called(node) in CLOCKS or imports(node, "time", "os", "random", "secrets", "socket", "logging")

    assert offences(modules(project, "domain"), outside) == []
    assert offences(modules(project, "ports", "engine"), lambda node: called(node) in CLOCKS) == []


@pytest.mark.fault("S25")
def test_s25_randomness_comes_from_the_operating_system(project):
    def weak(node):
        return imports(node, "random") or called(node) in {("uuid", "uuid1"), ("", "uuid1")}

    shipped = [path for path in modules(project) if "testing" not in path.parts]
    assert offences(shipped, weak, ("random", "uuid1")) == []


def test_files_with_one_of_the_words_are_parsed(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("import random\n")
    assert offences([path], lambda node: imports(node, "random"), ("random", "uuid1")) == ["module.py:1"]


@pytest.mark.parametrize("text", ["1.5", "x: float = 1", "x: int | float", "float(2)"])
def test_float_rule_sees_floats(text):
    assert any(makes_float(node) for node in ast.walk(ast.parse(text)))


@pytest.mark.fault("G08")
@pytest.mark.parametrize(
    ("name", "vulnerable", "first_good"),
    [
        ("web3", "7.14.1", "7.15.0"),  # CCIP-read reached local addresses
        ("eth-account", "0.5.8", "0.5.9"),  # a regular expression that took for ever (CVE-2022-1930)
        ("urllib3", "2.4.0", "2.5.0"),  # redirects that had been switched off were followed (CVE-2025-50181)
        ("pycryptodome", "3.19.0", "3.19.1"),  # a side channel (CVE-2023-52323)
        ("pluggy", "1.6.0", "1.7.0"),  # not a hole: registration is atomic from here on
    ],
)
def test_g08_lower_bounds_keep_known_holes_out(name, vulnerable, first_good):
    declared = {r.name.lower(): r for r in map(Requirement, requires("evmbilling")) if r.marker is None}
    assert not declared[name].specifier.contains(vulnerable)
    bounds = [clause.version for clause in declared[name].specifier if clause.operator == ">="]
    assert len(bounds) == 1
    assert Requirement(f"{name}>={first_good}").specifier.contains(bounds[0])


@pytest.mark.fault("G08")
def test_g08_every_dependency_has_a_lower_bound():
    unbounded = [
        str(requirement)
        for requirement in map(Requirement, requires("evmbilling"))
        if requirement.name != "evmbilling"
        and not any(clause.operator in {">=", "=="} for clause in requirement.specifier)
    ]
    assert unbounded == []


def test_tests_are_never_skipped_or_expected_to_fail(project):
    evasion = re.compile(r"mark\.(skip|skipif|xfail)\b|pytest\.(skip|xfail|importorskip)\(")
    found = [
        f"{path.relative_to(project)}:{number}"
        for path in sorted((project / "tests").rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if evasion.search(line) and "re.compile" not in line
    ]
    assert found == []


SILENCER = re.compile(r"#\s*(?:ruff:\s*)?(?:noqa|type:\s*ignore)(?![\w-])(?P<codes>[^#]*?)(?:\s[-#]\s+(?P<why>\S.*))?$")
CODES = re.compile(r"[A-Z]{1,4}\d{3,4}|(?<=[\[ ])[a-z]+(?:-[a-z]+)*(?=[],])")


def unreasoned(text):
    """Lines that silence a rule without naming it, or for the first time in their file without a reason."""
    reasons = set()
    for number, line in enumerate(text.splitlines(), 1):
        match = SILENCER.search(line)
        if match is None:
            continue
        codes = set(CODES.findall(match["codes"]))
        if match["why"]:
            reasons |= codes
        if not codes or codes - reasons:
            yield number


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x  # noqa: S603  - our own program", []),
        ("x  # noqa: S603  - our own program\ny  # noqa: S603", []),
        ("x  # type: ignore[arg-type]  # checked above", []),
        ("# ruff: noqa: INP001  - scripts", []),
        ("x  # noqa: A1, B2", [1]),
        ("x  # noqa: S603\ny  # noqa: S603  - too late", [1]),
        ("x  # noqa", [1]),
        ("x  # type: ignore", [1]),
        ("x  # type: ignore[arg-type]", [1]),
    ],
)
def test_unreasoned_silencers_are_seen(text, found):
    assert list(unreasoned(text)) == found


def test_silenced_rules_have_a_code_and_a_reason(project):
    found = [
        f"{path.relative_to(project)}:{number}"
        for folder in ("src", "tests", "tools", "examples")
        for path in sorted((project / folder).rglob("*.py"))
        if path.name != "test_rules.py"
        for number in unreasoned(path.read_text())
    ]
    assert found == []
