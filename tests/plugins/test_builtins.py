"""What evmbilling registers itself: by the same hooks, by name, and without loading what is not built."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from evmbilling import builtins
from evmbilling.adapters.secretbox import SecretBox
from evmbilling.adapters.system import SystemClock
from evmbilling.errors import ConfigurationError, PluginError
from evmbilling.plugins import PluginManager
from evmbilling.plugins.conformance import problems

KEY = "0x" + "11" * 32
ADDRESS = "0x19E7E376E7C213B7E7e7e46cc70A5dD086DAff2A"
NAMES = {
    "storages": ("memory", "sqlalchemy"),
    "providers": ("evm",),
    "notifiers": ("email", "email_ops", "log"),
    "quotas": (),
    "signers": ("keyfile", "local"),
}


@pytest.fixture
def manager():
    made = PluginManager()
    made.register(builtins, "builtins")
    return made


@pytest.mark.parametrize(("role", "names"), NAMES.items())
def test_built_ins_are_registered_by_name(manager, role, names):
    registry = getattr(manager, role)
    assert registry.names() == names
    assert {str(registry.owner(name)) for name in names} <= {"plugin 'builtins' of evmbilling"}


def test_every_built_in_class_conforms(manager):
    from evmbilling.adapters.evm.provider import EvmProvider
    from evmbilling.adapters.memory import MemoryStorage
    from evmbilling.adapters.notifiers.log import LogNotifier
    from evmbilling.adapters.signers.keyfile import KeyfileSigner
    from evmbilling.adapters.signers.local import LocalSigner
    from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage

    assert problems(MemoryStorage, manager.storages.port) == ()
    assert problems(SqlAlchemyStorage, manager.storages.port) == ()
    assert problems(EvmProvider, manager.providers.port) == ()
    assert problems(LogNotifier, manager.notifiers.port) == ()
    assert problems(LocalSigner, manager.signers.port) == ()
    assert problems(KeyfileSigner, manager.signers.port) == ()


def test_registering_loads_no_heavy_module():
    code = (
        "import sys\n"
        "from evmbilling import builtins\n"
        "from evmbilling.plugins import PluginManager\n"
        "PluginManager().register(builtins)\n"
        "print(*sorted({'sqlalchemy', 'alembic', 'web3', 'eth_account', 'eth_keys'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_memory_storage_is_built_with_the_clock(manager):
    storage = manager.storages.build("memory", clock=SystemClock())
    assert len(storage.instance_id()) == 8
    with pytest.raises(PluginError, match="asks for clock; lent here: nothing"):
        manager.storages.build("memory")


def test_the_log_notifier_takes_logger_and_level(manager):
    notifier = manager.notifiers.build("log", {"logger": "shop", "level": "WARNING"})
    assert (notifier._logger.name, notifier._level) == ("shop", logging.WARNING)
    with pytest.raises(ConfigurationError) as caught:
        manager.notifiers.build("log", {"level": "LOUD"})
    assert (caught.value.field, caught.value.details["plugin"]) == ("level", "builtins")


def test_signers_are_built_from_a_key_or_a_keyfile(manager, tmp_path):
    from eth_account import Account

    assert manager.signers.build("local", {"key": KEY}).address == ADDRESS
    path = tmp_path / "keyfile.json"
    encrypted = Account.encrypt(KEY, "pass", kdf="pbkdf2", iterations=10)
    path.write_text(__import__("json").dumps(encrypted))
    box = SecretBox(lookup={"KEYFILE_PASSWORD": "pass"}.get)
    signer = manager.signers.build("keyfile", {"key": f"{path}|env:KEYFILE_PASSWORD"}, secrets=box)
    assert signer.address == ADDRESS


@pytest.mark.fault("G02")
@pytest.mark.parametrize("options", [{"key": "canary-7d"}, {"kye": "canary-7d"}, {"key": ["canary-7d"]}])
def test_g02_a_wrong_signing_key_is_not_repeated(manager, options):
    with pytest.raises(ConfigurationError) as caught:
        manager.signers.build("local", options)
    assert "canary-7d" not in str(caught.value) + repr(caught.value.__dict__) + repr(caught.value.__context__)
