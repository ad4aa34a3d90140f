"""A kit holds its own rules: what is left out, what may be replaced, and what a failure says."""

from __future__ import annotations

import re
from typing import ClassVar

import pytest
from inner_runs import run_pytest

from evmbilling.adapters.memory import MemoryStorage
from evmbilling.ports.storage import Storage
from evmbilling.testing import conformance
from evmbilling.testing.conformance import StorageConformance, deviates
from evmbilling.testing.conformance.base import breach, clause_of, contract, deviations, standard_tests
from evmbilling.testing.conformance.storage.kit import StorageConformance as Whole

ATOMIC = "test_nobody_sees_a_unit_before_it_commits"
PROCESSES = "test_processes_lose_no_update_of_a_customer"


def test_a_kit_is_found_by_its_name():
    assert conformance.StorageConformance is Whole
    assert set(conformance.__all__) == set(conformance._HOMES)
    assert all(getattr(conformance, name) for name in conformance.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = conformance.Nothing


@pytest.mark.parametrize("name", [name for name in conformance.__all__ if name.endswith("Conformance")])
def test_no_standard_test_hides_another_of_its_name(name):
    kit = getattr(conformance, name)
    owners = [(test, base.__name__) for base in kit.__mro__ for test in vars(base) if test.startswith("test_")]
    hidden = {test: [owner for of, owner in owners if of == test] for test, _ in owners}
    assert {test: where for test, where in hidden.items() if len(where) > 1} == {}


def test_what_is_not_declared_is_not_collected():
    class Small(StorageConformance):
        pass

    class Large(Small):
        capabilities = frozenset({"many_processes"})

    class Smaller(Large):
        capabilities: ClassVar[frozenset[str]] = frozenset()

    assert getattr(Small, PROCESSES) is getattr(Smaller, PROCESSES) is None
    assert callable(getattr(Large, PROCESSES))
    assert callable(getattr(Small, ATOMIC))


def test_an_unknown_capability_is_refused_with_those_that_are_known():
    with pytest.raises(TypeError, match=r"(?s)Wrong declares .*many_procesess.*many_processes: several processes"):

        class Wrong(StorageConformance):
            capabilities = frozenset({"many_procesess"})


@pytest.mark.parametrize("replacement", [None, lambda _: None, 7], ids=["none", "passes", "number"])
def test_a_standard_test_is_not_replaced_in_silence(replacement):
    with pytest.raises(TypeError, match=rf"Mine\.{ATOMIC} replaces a standard test of StorageConformance.*@deviates"):
        type("Mine", (StorageConformance,), {ATOMIC: replacement})


def test_a_mixin_replaces_none_either():
    mixin = type("Mixin", (), {ATOMIC: lambda _: None})
    with pytest.raises(TypeError, match=rf"Mixin\.{ATOMIC} replaces"):
        type("Mine", (mixin, StorageConformance), {})


def test_a_replacement_with_a_reason_is_taken_and_told():
    @deviates("one writer, and readers wait for it")
    def otherwise(_):
        return None

    mine = type("Mine", (StorageConformance,), {ATOMIC: otherwise})
    below = type("Below", (mine,), {})
    assert deviations(mine) == deviations(below) == {ATOMIC: "one writer, and readers wait for it"}
    assert deviations(StorageConformance) == deviations(dict) == {}
    with pytest.raises(ValueError, match="needs a reason"):
        deviates(" ")


def test_every_standard_test_is_of_a_clause_that_the_port_states():
    for name in conformance.__all__:
        kit = getattr(conformance, name)
        if not isinstance(kit, type) or not standard_tests(kit):
            continue
        clauses = contract(kit.port)
        assert sorted(clauses) == list(range(1, len(clauses) + 1)), name
        told = {test: clause_of(kit, test) for test in standard_tests(kit)}
        assert {test: number for test, number in told.items() if number not in clauses} == {}, name
        assert set(clauses) == set(told.values()), f"{name}: a clause without a test"


def test_a_failure_names_its_clause():
    assert contract(Storage)[2].startswith("A unit that raises leaves nothing behind")
    assert breach(StorageConformance, ATOMIC) == f"Storage, clause 1: {contract(Storage)[1]}"
    assert breach(StorageConformance, "test_of_my_own") == breach(dict, ATOMIC) == ""


LEAKY = '''
import pytest
from evmbilling.adapters.memory import MemoryStorage
from evmbilling.testing.conformance import StorageConformance, deviates

class Forgetful(MemoryStorage):
    """Gives the second owner the fence of the first."""
    def acquire_lease(self, name, owner, seconds):
        lease = super().acquire_lease(name, owner, seconds)
        return lease and type(lease)(name=lease.name, owner=lease.owner, fence=1, until=lease.until)

class TestLeaky(StorageConformance):
    @pytest.fixture
    def new_storage(self, clock):
        return lambda: Forgetful(clock)

    @deviates("leases end at once here")
    def test_an_owner_renews_under_the_same_fence(self, storage): pass
'''


def test_an_author_is_told_what_to_fix(tmp_path):
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    done = run_pytest(tmp_path, "-k", "lease or owner")
    said = done.stdout
    assert done.returncode == 1, said
    assert re.search(r"-+ what to fix -+\nStorage, clause 9: A lease has one owner", said)
    assert re.search(r"FAILED .*until_the_lease_ends - Storage, clause 9: A lease", said)
    assert "standard tests that were replaced" in said
    assert "TestLeaky.test_an_owner_renews_under_the_same_fence: leases end at once here" in said


ABSENT = """
import pytest
from evmbilling.plugins import PluginManager
from evmbilling.testing.conformance import SignerConformance

class TestAbsent(SignerConformance):
    @pytest.fixture
    def signer(self):
        PluginManager().load(["no-such-plugin"])

class TestSilent(SignerConformance):
    pass
"""


def test_what_never_came_to_its_test_breaks_no_clause(tmp_path):
    """A plugin that does not load, and a fixture that was not given, say themselves what is missing."""
    (tmp_path / "test_absent.py").write_text(ABSENT)
    done = run_pytest(tmp_path, "-k", "low_s or same_signature")
    said = done.stdout
    assert done.returncode == 1, said
    assert "clause" not in said
    assert re.search(r"ERROR .*TestAbsent.* - .*no installed distribution has the plugin 'no-such-plugin'", said)
    assert re.search(r"ERROR .*TestSilent.* the kit needs the fixture signer", said)


def test_a_plugin_must_give_its_fixture():
    with pytest.raises(pytest.fail.Exception, match="the kit needs the fixture new_storage"):
        StorageConformance.new_storage._get_wrapped_function()(StorageConformance())
    assert MemoryStorage  # what one would give
