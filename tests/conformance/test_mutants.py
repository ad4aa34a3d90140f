"""The kits bite: each clause of each contract has implementations that break it, and each of these is refused."""

from __future__ import annotations

import importlib.util

import pytest
from mutant_hunt import MODULES, hunt

from evmbilling.testing.conformance.base import clause_of, contract, standard_tests
from sampling import EVERYTHING


@pytest.fixture(scope="session")
def docs(project):
    spec = importlib.util.spec_from_file_location("conformance_docs", project / "tools/conformance_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("port", MODULES)
def test_the_page_says_what_the_kit_says(docs, port):
    assert docs.promises(port) in docs.part_of(port), "run tools/conformance_docs.py"


@pytest.mark.parametrize("port", MODULES)
def test_every_clause_has_a_mutant_that_a_test_of_the_kit_refuses(docs, port):
    kit, killers = docs.kit_of(port), docs.killers_on(docs.part_of(port))
    assert {clause for clause, _ in killers.values()} == set(contract(kit.port))
    assert {test for _, test in killers.values()} <= set(standard_tests(kit))
    assert all(clause_of(kit, test) for _, test in killers.values())


@pytest.mark.parametrize("port", MODULES)
def test_each_mutant_is_refused_by_the_test_on_the_page(docs, port, tmp_path):
    """Of each clause one mutant in the usual run, and the control by the same tests; all of them in every other."""
    killers = docs.killers_on(docs.part_of(port))
    last = {clause: words for words, (clause, _) in killers.items()}
    tried = killers if EVERYTHING else {words: killers[words] for words in last.values()}
    every = sorted({test for _, test in tried.values()})
    found = hunt(port, tmp_path, {words: [test] for words, (_, test) in tried.items()} | {"Nothing is wrong.": every})
    assert {about["words"]: about["of"] for about in found.values() if about["of"]} == {
        words: clause for words, (clause, _) in killers.items()
    }, "run tools/conformance_docs.py"
    looked = {name: about for name, about in found.items() if not about["of"] or about["words"] in tried}
    mutants = {about["words"]: (about["of"], *about["killers"]) for about in looked.values() if about["of"]}
    assert mutants == tried, "run tools/conformance_docs.py"
    assert docs.survivors(looked) == [], "a control was refused"


@pytest.mark.exhaustive
@pytest.mark.parametrize("port", MODULES)
def test_the_page_is_what_the_whole_hunt_finds(docs, port, tmp_path):
    found = hunt(port, tmp_path)
    assert docs.survivors(found) == []
    assert docs.table(found) in docs.part_of(port), "run tools/conformance_docs.py"


def test_a_survivor_is_told(docs):
    wrong = {"of": 3, "words": "x", "kit": "Storage", "killers": []}
    control = {"of": 0, "words": "Nothing is wrong.", "kit": "Storage", "killers": ["test_y"]}
    right = wrong | {"killers": ["test_y"]}
    assert docs.survivors({"A": wrong, "B": control, "C": right}) == ["A", "B"]
    assert docs.killers_on(docs.table({"C": right})) == {"x": (3, "test_y")}
