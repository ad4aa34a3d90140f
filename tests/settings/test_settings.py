"""Settings from the environment: what each variable gives, and how each wrong one is said."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

import evmbilling
from evmbilling import BillingEngine
from evmbilling.domain.actors import Role
from evmbilling.errors import BillingError, ConfigurationError
from evmbilling.settings import BillingSettings, database_url, options_of, relay_keys_of, roles_of, variable_of

KEY = base64.b64encode(bytes(range(32))).decode()
CANARY = "canary-91b7fe33d0"
PACKAGE = str(Path(evmbilling.__file__).parent)
HOOK = "whsec_" + base64.b64encode(b"k" * 24).decode()


def refusal(call=BillingSettings, **values) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        call(**values)
    assert "\n" not in str(caught.value)
    return caught.value


def test_an_empty_environment_is_valid():
    settings = BillingSettings()
    assert settings.database_url is None
    assert settings.table_prefix == "evmbilling_"
    assert settings.rpc_config.get_secret_value() == {}
    assert (settings.storage, settings.notifiers, settings.plugins, settings.plugins_autoload) == (
        "sqlalchemy",
        (),
        (),
        False,
    )


def test_each_variable_is_read(environment):
    environment(
        DATABASE_URL="postgresql://u:p@h/db",
        TABLE_PREFIX="shop_",
        SCHEMA="billing",
        SECRET_KEY=KEY,
        WEBHOOK_SECRET=HOOK,
        FINANCE_OPS_USER_IDS="ann, bob,,",
        ADMIN_USER_IDS="carl",
        STORAGE="memory",
        NOTIFIERS="log,mail",
        QUOTA="redis",
        PLUGINS="pigeon , raven",
        PLUGINS_AUTOLOAD="true",
        PLUGIN_OPTIONS='{"notifier.log": {"level": "INFO"}}',
    )
    settings = BillingSettings()
    assert database_url(settings) == "postgresql://u:p@h/db"
    assert (settings.table_prefix, settings.db_schema) == ("shop_", "billing")
    assert settings.secret_key.get_secret_value() == KEY
    assert settings.webhook_secret.get_secret_value() == HOOK
    assert settings.finance_ops_user_ids == ("ann", "bob")
    assert (settings.storage, settings.notifiers, settings.quota) == ("memory", ("log", "mail"), "redis")
    assert (settings.plugins, settings.plugins_autoload) == (("pigeon", "raven"), True)
    assert options_of(settings, "notifier", "log") == {"level": "INFO"}
    assert options_of(settings, "notifier", "mail") == {}


def test_keyword_arguments_go_before_the_environment(environment):
    environment(TABLE_PREFIX="env_", SCHEMA="env")
    settings = BillingSettings(table_prefix="own_", db_schema="own", notifiers=["log"])
    assert (settings.table_prefix, settings.db_schema, settings.notifiers) == ("own_", "own", ("log",))


def test_an_empty_variable_counts_as_unset(environment):
    environment(SCHEMA="", SECRET_KEY="", RPC_CONFIG="")
    settings = BillingSettings()
    assert (settings.db_schema, settings.secret_key) == (None, None)


def test_a_dotenv_file_is_read_when_asked(tmp_path):
    (tmp_path / ".env").write_text("BILLING_TABLE_PREFIX=dot_\nBILLING_SECRET_KEY_FILE=" + str(tmp_path / "key"))
    (tmp_path / "key").write_text(KEY + "\n")
    settings = BillingSettings(_env_file=tmp_path / ".env")
    assert settings.table_prefix == "dot_"
    assert settings.secret_key.get_secret_value() == KEY


def test_roles_come_from_the_lists():
    settings = BillingSettings(finance_ops_user_ids="ann,bob", admin_user_ids="bob")
    assert roles_of(settings, "ann") == {Role.FINANCE_OPS}
    assert roles_of(settings, "bob") == {Role.FINANCE_OPS, Role.BILLING_ADMIN}
    assert roles_of(settings, "eve") == frozenset()


def test_a_database_url_that_is_needed_and_absent_is_named():
    assert refusal(lambda: database_url(BillingSettings())).field == "BILLING_DATABASE_URL"


def test_importing_reads_nothing():
    code = (
        "import os\n"
        "class Deny(dict):\n"
        "    def get(self, key, default=None):\n"
        "        assert not str(key).upper().startswith('BILLING_'), key\n"
        "        return super().get(key, default)\n"
        "    __getitem__ = lambda self, key: self.get(key)\n"
        "os.environ = Deny(os.environ)\n"
        "import evmbilling.settings\n"
    )
    environ = {"PATH": "", "BILLING_SECRET_KEY": "not a key", "BILLING_RPC_CONFIG": "not json"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


IN_FILES = [name[: -len("_file")].upper() for name in BillingSettings.model_fields if name.endswith("_file")]


@pytest.mark.parametrize("name", IN_FILES)
def test_secrets_can_stand_in_files(environment, tmp_path, name):
    assert {"SECRET_KEY", "SEAL_KEY", "METRICS_TOKEN"} < set(IN_FILES)
    content = {"SECRET_KEY": KEY, "SEAL_KEY": KEY, "RPC_CONFIG": "{}", "EVM_GATEWAYS": "{}"}.get(name, HOOK)
    path = tmp_path / "secret"
    path.write_text(content + "\n")
    environment(**{f"{name}_FILE": str(path)})
    read = getattr(BillingSettings(), name.lower()).get_secret_value()
    assert read == (json.loads(content) if content == "{}" else content)

    environment(**{name: content})
    error = refusal()
    assert error.field == f"BILLING_{name}_FILE"
    assert f"BILLING_{name} is set too" in error.message


@pytest.mark.parametrize("around", ["\ufeff{}", "{}\r\n", "  {}  \n\n"])
def test_what_an_editor_leaves_around_a_secret_is_no_part_of_it(environment, tmp_path, around):
    path = tmp_path / "secret"
    path.write_text(around.format(KEY), newline="")
    environment(SECRET_KEY_FILE=str(path))
    assert BillingSettings().secret_key.get_secret_value() == KEY


def test_a_device_without_an_end_is_not_read_for_ever(environment):
    environment(SECRET_KEY_FILE="/dev/zero")
    error = refusal()
    assert (error.field, "is too large" in error.message) == ("BILLING_SECRET_KEY_FILE", True)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b" \n", "is empty"), (None, "No such file"), (b"\xff\xfe", "is not UTF-8"), (b"x" * 1_100_000, "too large")],
)
def test_secret_files_that_cannot_be_read_are_named(environment, tmp_path, content, said):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    environment(SECRET_KEY_FILE=str(path))
    error = refusal()
    assert error.field == "BILLING_SECRET_KEY_FILE"
    assert said in error.message


WRONG = [
    ("TABLE_PREFIX", "Shop-", "pattern"),
    ("SCHEMA", "a b", "pattern"),
    ("SECRET_KEY", "c2hvcnQ=", "base64 of 32 bytes"),
    ("SECRET_KEY", "ü", "base64 of 32 bytes"),
    ("RPC_CONFIG", "{", "a JSON object is expected (line 1, column 2)"),
    ("RPC_CONFIG", "[]", "a JSON object is expected (not an object)"),
    ("RPC_CONFIG", "[" * 100_000, "a JSON object is expected (nested too deeply)"),
    ("RPC_CONFIG", '{"a": {}, "a": {}}', "names one key twice"),
    ("RPC_CONFIG", '{"a": {"chain_id": NaN}}', "no NaN"),
    ("RPC_CONFIG", '{"a": {"chain_id": ' + "9" * 5000 + "}}", "a number is too long"),
    ("RPC_CONFIG", '{"a": 3}', "a: Input should be a valid dictionary"),
    ("EVM_GATEWAYS", "nonsense", "a JSON object is expected"),
    ("FINANCE_OPS_USER_IDS", "ann,b b", "printable ASCII characters without spaces"),
    ("ADMIN_USER_IDS", "ünn", "printable ASCII characters without spaces"),
    ("PLUGINS_AUTOLOAD", "perhaps", "boolean"),
    ("METRICS_TOKEN", "short", "at least 16 characters are expected"),
    ("RECEIPT_SELLER", "x" * 4001, "a text of up to 4000 characters is expected"),
    ("RECEIPT_SELLER", "a\x07b", "a text on a receipt is printable"),
    ("DUNNING", '{"grace_days": -1}', "grace_days: a whole number from 0 to 3650 is expected"),
    (
        "DUNNING",
        '{"steps": [{"name": "a", "after_days": "x", "actions": ["notify"]}]}',
        "steps: after_days: a whole number",
    ),
    ("PLUGIN_OPTIONS", '{"log": {}}', "keys are written role.name"),
    ("PLUGIN_OPTIONS", '{"post.log": {}}', "keys are written role.name"),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG)
def test_a_wrong_value_is_one_line_naming_its_variable(environment, name, value, said):
    environment(**{name: value})
    error = refusal()
    assert error.field == f"BILLING_{name}"
    assert str(error).startswith(f"BILLING_{name}: ")
    assert said in error.message


def test_brackets_within_texts_do_not_nest():
    text = '"' + "[" * 100
    settings = BillingSettings(plugin_options=json.dumps({"notifier.log": {"a": text, "b": [[1]]}}))
    assert options_of(settings, "notifier", "log") == {"a": text, "b": [[1]]}


@pytest.mark.fault("W09")
@pytest.mark.parametrize(
    "secret",
    [
        "w",
        "w" * 24,
        "whsec_",
        "whsec_" + base64.b64encode(b"k" * 23).decode(),
        "whsec_" + base64.b64encode(b"k" * 65).decode(),
        "whsec_no base64 at all, though it is long enough",
        f"{HOOK} whsec_short",
        "ключ" * 12,
    ],
)
def test_w09_a_webhook_secret_that_cannot_sign_stops_the_start(environment, secret):
    environment(WEBHOOK_SECRET=secret)
    error = refusal()
    assert (error.field, "base64 of 24 to 64 bytes" in error.message) == ("BILLING_WEBHOOK_SECRET", True)
    assert secret not in str(error) or len(secret) < len("whsec_") + 1


def test_a_webhook_secret_is_read_while_it_is_exchanged(environment):
    environment(WEBHOOK_SECRET=f"{HOOK} whsec_{base64.b64encode(b'o' * 24).decode()}")
    assert relay_keys_of(BillingSettings()) == (b"k" * 24, b"o" * 24)


def test_several_wrong_values_are_one_line(environment):
    environment(TABLE_PREFIX="Shop-", WEBHOOK_SECRET="short")
    text = str(refusal())
    assert text.startswith("BILLING_TABLE_PREFIX: ")
    assert "; BILLING_WEBHOOK_SECRET: " in text


def test_an_unknown_keyword_argument_is_refused():
    error = refusal(databse_url="sqlite://")
    assert (error.field, error.message) == ("databse_url", "there is no such setting: databse_url")


NESTED = json.dumps({"a": {"chain_id": CANARY, "rpc": [CANARY], "testnet": CANARY}})
CANARIES = [
    {"DATABASE_URL": f"sqlite://{CANARY}", "TABLE_PREFIX": "-"},
    {"SECRET_KEY": CANARY},
    {"WEBHOOK_SECRET": CANARY},
    {"TABLE_PREFIX": CANARY},
    {"SCHEMA": CANARY + " "},
    {"RPC_CONFIG": CANARY},
    {"RPC_CONFIG": NESTED},
    {"RPC_CONFIG": json.dumps({"a": {"chain_id": 1, "rpc": f"https://node/{CANARY}"}})},
    {"RPC_CONFIG": json.dumps({"a": {"chain_id": 1, "rpc": [f"wss://node/{CANARY}"]}})},
    {"RPC_CONFIG": json.dumps({"a": {"chain_id": 1, "rpc": ["env:A"], "credit_after": CANARY}})},
    {"RPC_CONFIG": json.dumps({"a": CANARY})},
    {"EVM_GATEWAYS": json.dumps({"a": {"networks": ["n"], "signer": CANARY, "treasuries": {}}})},
    {"EVM_GATEWAYS": json.dumps({"a": {"networks": ["n"], "signer": "env:A", "treasuries": {"n": CANARY}}})},
    {"PLUGIN_OPTIONS": json.dumps({"notifier.x": [CANARY]})},
    {"PLUGIN_OPTIONS": json.dumps({"notifier.x": CANARY})},
    {"PLUGINS_AUTOLOAD": CANARY},
    {"FINANCE_OPS_USER_IDS": CANARY + " x"},
]


@pytest.mark.fault("G02")
@pytest.mark.parametrize("by_keyword", [False, True])
@pytest.mark.parametrize("variables", CANARIES)
def test_g02_a_wrong_value_is_never_repeated(environment, variables, by_keyword):
    values = {}
    if by_keyword:
        values = {("db_schema" if name == "SCHEMA" else name.lower()): value for name, value in variables.items()}
    else:
        environment(**variables)
    try:
        BillingSettings(**values)
    except ConfigurationError as error:
        error.__traceback__ = error.__traceback__.tb_next  # this frame holds the canary itself
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        text = "".join(shown.format()) + repr(error) + repr(vars(error)) + repr(error.__context__)
    assert "BILLING_" in text
    assert CANARY not in text


@pytest.mark.fault("G02")
@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{CANARY}@h/db",
        f"{CANARY}",
        f"postgresql://u:{CANARY}@h:port/db",
        "sqlite:////no/such/folder/db",
        "sqlite://",
    ],
)
def test_g02_an_engine_that_cannot_be_built_leaves_no_secret_in_local_variables(url):
    key = CANARY.encode().ljust(32, b"k")
    settings = BillingSettings(database_url=url, seal_key=base64.b64encode(key).decode())
    with pytest.raises(BillingError) as caught:
        BillingEngine.from_settings(settings)
    error = caught.value
    error.__traceback__ = error.__traceback__.tb_next  # this frame holds the canary itself
    while error is not None:
        frames = traceback.walk_tb(error.__traceback__)
        ours = [frame for frame, _ in frames if frame.f_code.co_filename.startswith(PACKAGE)]
        assert CANARY not in repr([frame.f_locals for frame in ours])
        error = error.__cause__ or error.__context__


@pytest.fixture
def full():
    return BillingSettings(
        database_url=f"postgresql://u:{CANARY}@h/db",
        secret_key=base64.b64encode(CANARY.encode().ljust(32)).decode(),
        webhook_secret="whsec_" + base64.b64encode(CANARY.encode().ljust(32)).decode(),
        rpc_config={"a": {"chain_id": 1, "rpc": [f"https://node/{CANARY}"]}},
        plugin_options={"notifier.chat": {"token": CANARY}},
    )


@pytest.mark.fault("G02")
@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        lambda s: f"{s}",
        lambda s: repr(s.model_dump()),
        lambda s: s.model_dump_json(),
        lambda s: repr(copy.deepcopy(s)),
        lambda s: repr(pickle.loads(pickle.dumps(s))),
        lambda s: repr(s.__dict__),
        lambda s: json.dumps(s.model_dump(mode="json")),
    ],
)
def test_g02_settings_show_no_secret(full, show):
    text = show(full)
    assert "evmbilling_" in text
    assert CANARY not in text
    assert base64.b64encode(CANARY.encode()).decode()[:16] not in text


def test_settings_do_not_change(full):
    with pytest.raises(ValueError, match="frozen"):
        full.table_prefix = "other_"


def test_every_setting_has_a_variable_and_says_what_it_is():
    for name, field in BillingSettings.model_fields.items():
        assert variable_of(name).startswith("BILLING_")
        assert len(field.description) > 10
    assert variable_of("db_schema") == "BILLING_SCHEMA"
    assert variable_of("nonsense") is None
