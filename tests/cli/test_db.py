"""`evmbilling db` and the command around it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from databases import make_sqlite
from evmbilling._version import __version__
from evmbilling.adapters.sqlalchemy.migrating import head
from evmbilling.cli.app import app
from evmbilling.cli.output import one_line

WIDE = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
NOWHERE = "sqlite:////no/such/folder/x.db"


def run(*arguments, **environment):
    return CliRunner(env=WIDE | environment).invoke(app, list(arguments))


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/billing.db"


def tables(url):
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return found


def spoil(url, statement):
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_version():
    done = run("--version")
    assert (done.exit_code, done.stdout) == (0, f"{__version__}\n")


def test_upgrade_then_check(url):
    upgraded = run("db", "upgrade", "--url", url)
    assert (upgraded.exit_code, upgraded.stderr) == (0, "")
    assert "revision" in upgraded.stdout
    checked = run("db", "check", "--url", url)
    assert (checked.exit_code, checked.stdout) == (0, "the database is what this version expects\n")
    assert "evmbilling_payment_transactions" in tables(url)


def test_upgrade_again_changes_nothing(tmp_path):
    url = make_sqlite(tmp_path / "billing.db")
    first = run("db", "upgrade", "--url", url, "--json")
    again = run("db", "upgrade", "--url", url, "--json")
    assert json.loads(first.stdout) == json.loads(again.stdout)
    assert json.loads(first.stdout)["revision"]


def test_the_url_may_come_from_the_environment(url):
    assert run("db", "upgrade", "--to", "0001", BILLING_DATABASE_URL=url).exit_code == 0
    assert "evmbilling_networks" in tables(url)
    assert run("db", "check", BILLING_DATABASE_URL=url).stdout.startswith("revision 0001 instead of ")


def test_prefix_is_honoured(url):
    assert run("db", "upgrade", "--url", url, "--prefix", "shop_", "--to", "0001").exit_code == 0
    assert all(name.startswith(("shop_", "sqlite_")) for name in tables(url))
    assert run("db", "check", "--url", url, "--prefix", "shop_").stdout.startswith("revision 0001 instead of ")
    assert run("db", "check", "--url", url).stdout.startswith("revision none instead of ")


def test_schema_is_honoured(postgres_url):
    assert run("db", "upgrade", "--url", postgres_url, "--schema", "money").exit_code == 0
    assert run("db", "check", "--url", postgres_url, "--schema", "money").exit_code == 0
    assert run("db", "check", "--url", postgres_url).exit_code == 1


def test_check_names_each_difference_and_fails(tmp_path):
    url = make_sqlite(tmp_path / "billing.db")
    spoil(url, "ALTER TABLE evmbilling_payment_transactions ADD COLUMN extra TEXT")
    spoil(url, "DROP TABLE evmbilling_outbox")
    told = run("db", "check", "--url", url)
    assert told.exit_code == 1
    listed = json.loads(run("db", "check", "--url", url, "--json").stdout)
    assert listed["ok"] is False
    assert listed["differences"] == told.stdout.splitlines()
    assert {"column payment_transactions.extra is not ours", "table outbox is absent"} <= set(listed["differences"])


def test_check_does_not_make_the_file_it_looks_for(url, tmp_path):
    done = run("db", "check", "--url", url)
    assert done.exit_code == 1
    assert "there is no file" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "dialect",
    # A url names its dialect, too.
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.exhaustive), "postgresql://user:canary@nowhere/x"],
)
def test_sql_is_printed_and_nothing_is_connected(dialect):
    done = run("db", "sql", "--url", dialect)
    assert done.exit_code == 0
    assert "CREATE TABLE evmbilling_payment_transactions" in done.stdout
    assert "canary" not in done.stdout
    answer = json.loads(run("db", "sql", "--url", dialect, "--json").stdout)
    assert answer["dialect"] == dialect.partition(":")[0]
    assert answer["sql"].rstrip() == done.stdout.rstrip()


def test_printed_sql_makes_what_check_expects(url, tmp_path):
    text = run("db", "sql", "--url", "sqlite", "--prefix", "a_").stdout
    connection = sqlite3.connect(tmp_path / "billing.db")
    connection.executescript(text)
    connection.close()
    assert run("db", "check", "--url", url, "--prefix", "a_").stdout.startswith("the database is")


@pytest.mark.parametrize(
    ("arguments", "code", "field", "exit_code"),
    [
        (("check", "--url", "nonsense"), "configuration", "database_url", 2),
        (("upgrade", "--url", "mysql://user:canary@host/name"), "configuration", "database_url", 2),
        (("upgrade", "--url", NOWHERE, "--prefix", "9x"), "configuration", "prefix", 2),
        (("upgrade", "--url", NOWHERE, "--schema", "a b"), "configuration", "schema", 2),
        (("upgrade", "--url", NOWHERE, "--to", "zzz"), "invalid_input", "to", 2),
        (("upgrade", "--url", NOWHERE, "--to", ""), "invalid_input", "to", 2),
        (("upgrade", "--url", NOWHERE, "--to", "base"), "invalid_input", "to", 2),
        (("upgrade", "--url", NOWHERE, "--to", "+999"), "invalid_input", "to", 2),
        (("upgrade", "--url", NOWHERE, "--to", "0001:0002"), "invalid_input", "to", 2),
        (("sql", "--url", "sqlite", "--to", "zzz"), "invalid_input", "to", 2),
        (("sql", "--url", "sqlite", "--to", ""), "invalid_input", "to", 2),
        (("sql", "--url", "sqlite", "--to", "0001:zzz"), "invalid_input", "to", 2),
        (("sql", "--url", "sqlite", "--to", "0003:0001"), "invalid_input", "to", 2),
        (("upgrade", "--url", NOWHERE), "storage_error", None, 1),
        (("check", "--url", "postgresql://user:canary@127.0.0.1:1/x"), "storage_error", None, 1),
        (("sql", "--url", "oracle"), "schema", None, 1),
        (("upgrade", "--url", "sqlite://"), "invalid_input", "url", 2),
        (("upgrade", "--url", "sqlite:///:memory:"), "invalid_input", "url", 2),
        (("upgrade", "--url", "sqlite:////no/such/folder/x.db\n"), "configuration", "database_url", 2),
        (("upgrade", "--url", NOWHERE, "--prefix", "sqlite_"), "configuration", "prefix", 2),
    ],
)
def test_typed_errors_are_one_line_and_json(arguments, code, field, exit_code):
    done = run("db", *arguments, "--json")
    assert done.exit_code == exit_code
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["field"]) == (code, field)
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert error["message"] in done.stderr
    assert "canary" not in done.output


def test_a_revision_that_does_not_exist_is_named_and_nothing_is_made(tmp_path):
    done = run("db", "upgrade", "--url", f"sqlite:///{tmp_path}/new.db", "--to", "zzz")
    assert "there is no revision 'zzz'" in done.stderr
    assert not (tmp_path / "new.db").exists()
    ranged = run("db", "sql", "--url", "sqlite", "--to", "0001:0002")
    assert (ranged.exit_code, "CREATE TABLE" in ranged.stdout) == (0, True)
    assert run("db", "upgrade", "--url", f"sqlite:///{tmp_path}/new.db", "--to", "+1", "--json").exit_code == 0


def test_a_database_that_cannot_be_opened_says_why():
    assert "unable to open database file" in run("db", "upgrade", "--url", NOWHERE).stderr


@pytest.mark.parametrize(
    "arguments", [(), ("db",), ("db", "frob"), ("db", "check"), ("db", "check", "--url", "sqlite://", "--what")]
)
def test_usage_ends_with_two(arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert "Usage" in done.output


@pytest.mark.fault("H19")
def test_h19_control_characters_do_not_reach_the_terminal():
    assert one_line("a\r\nb\x1b[31mc\u202ed") == "a b [31mc d"


def test_a_missing_extra_answers_with_the_install_hint():
    code = (
        "import sys\n"
        "sys.modules['typer'] = None\n"
        "from evmbilling.cli import main\n"
        "sys.argv = ['evmbilling', '--version']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'evmbilling[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.exhaustive  # so does the demo, from nothing, with all that it needs
def test_the_installed_command_runs():
    done = subprocess.run(
        [sys.executable, "-c", "from evmbilling.cli import main; main()", "db", "sql", "--url", "sqlite"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "CREATE TABLE" in done.stdout


def test_a_revision_that_was_passed_is_not_said_to_be_reached(tmp_path):
    url = make_sqlite(tmp_path / "billing.db")
    asked = run("db", "upgrade", "--url", url, "--to", "0001", "--json")
    assert json.loads(asked.stdout) == {"revision": head()}


@pytest.mark.parametrize("port", ["abc", "[::1"])
def test_a_database_url_that_cannot_be_read_names_its_variable(port):
    url = f"postgresql://u:hush@{port}/db" if port[0] == "[" else f"postgresql://u:hush@127.0.0.1:{port}/db"
    told = run("reader", "status", "--json", BILLING_DATABASE_URL=url)
    assert (told.exit_code, json.loads(told.stdout)["error"]["field"]) == (2, "BILLING_DATABASE_URL")
    for command in ("upgrade", "check", "renew-instance", "sql"):
        told = run("db", command, "--json", "--url", url)
        error = json.loads(told.stdout)["error"]
        assert (told.exit_code, error["field"]) == (2, "database_url"), command
        assert "hush" not in told.stdout + told.stderr


def test_a_file_that_is_no_database_is_called_so(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing of the kind\n" * 100)
    told = run("reader", "status", "--json", BILLING_DATABASE_URL=f"sqlite:///{tmp_path}/notes.txt")
    assert (told.exit_code, "file is not a database" in json.loads(told.stdout)["error"]["message"]) == (1, True)


def test_a_file_that_is_not_there_is_not_made_by_a_command_that_needs_it(tmp_path):
    told = run("db", "renew-instance", "--json", "--url", f"sqlite:///{tmp_path}/none.db")
    assert (told.exit_code, json.loads(told.stdout)["error"]["field"]) == (2, "url")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "field", "said"),
    [
        (("audit", "--limit", "many"), "limit", "integer"),
        (("audit", "--colour"), None, "No such option"),
        (("db", "copy", "--from", "sqlite:///a.db"), "target", "Missing option"),
        (("db", "check"), None, "is not set"),
        (("nothing",), None, "No such command"),
        (("reader", "resume", "local"), "accept", "Missing option"),
    ],
)
def test_words_that_cannot_be_understood_are_answered_in_json_too(words, field, said):
    told = run(*words, "--json")
    error = json.loads(told.stdout)["error"]
    assert (told.exit_code, error["code"], error["field"]) == (2, "usage", field)
    assert said in error["message"]
    assert run(*words).stdout == ""


def test_a_name_that_is_not_registered_was_given_wrongly(tmp_path):
    url = make_sqlite(tmp_path / "billing.db")
    told = run("reader", "status", "--json", BILLING_DATABASE_URL=url, BILLING_NOTIFIERS="pigeon")
    assert (told.exit_code, json.loads(told.stdout)["error"]["field"]) == (2, "BILLING_NOTIFIERS")


def test_one_answer_is_in_one_form(tmp_path):
    url = make_sqlite(tmp_path / "billing.db")
    told = run("overview", "--csv", "mrr", "--json", BILLING_DATABASE_URL=url)
    assert (told.exit_code, json.loads(told.stdout)["error"]["field"]) == (2, "csv")


def test_a_demonstration_that_could_not_be_kept_does_not_begin(tmp_path):
    told = run("demo", "--keep", str(tmp_path / "none/kept.db"), "--json")
    assert (told.exit_code, json.loads(told.stdout)["error"]["field"]) == (2, "keep")
