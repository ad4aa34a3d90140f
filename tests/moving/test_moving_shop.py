"""A shop on Anvil moves from SQLite to PostgreSQL by the commands of its page, and goes on there."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "working"))

from worker_bench import open_shop

from databases import make_sqlite
from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage
from evmbilling.cli.app import app
from evmbilling.factory import BillingEngine
from evmbilling.testing.merchant import ADMIN, repeatable_secrets
from workers_in_process import work_once


@pytest.fixture
def shop(anvil, tmp_path, databases):
    with open_shop(tmp_path, databases.sqlite_template, anvil) as made:
        yield made


def commands(page: Path) -> list[list[str]]:
    """The lines of the page's shell blocks that call this package."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("evmbilling ")]


def test_the_commands_of_the_page_move_a_shop_that_goes_on(shop, databases, project):
    environment = {k: v for k, v in shop.environment().items() if k.startswith("BILLING_")} | {"COLUMNS": "200"}
    paid = shop.pay("user-1")
    work_once(environment)
    open_order = shop.merchant.checkout("user-2").ledger_id
    with databases.lend("postgres") as target:
        urls = {"sqlite:///billing.sqlite3": shop.url, "postgresql://billing@db.internal/shop": target}
        said = []
        for words in commands(project / "docs/how-to/move-to-postgresql.md"):
            given = [urls.get(word, word) for word in words]
            # From the copy on, the page sets the database in the environment.
            after = any(words[:2] == ["db", "copy"] for words in said)
            place = {"BILLING_DATABASE_URL": target if after else shop.url}
            answer = CliRunner(env=environment | place).invoke(app, given)
            assert answer.exit_code == 0, (given, answer.output, answer.stderr)
            said.append(words)
            if words[:2] == ["db", "copy"]:
                copied = answer.stdout
        assert [" ".join(words[:2]) for words in said if words[0] == "db"] == ["db check", "db copy", "db check"]
        assert "the books of the target are proved" in copied
        engine = BillingEngine(storage=SqlAlchemyStorage.open(target), secrets=repeatable_secrets())
        try:
            assert engine.order(paid).status == "confirmed"
            assert engine.order(open_order).status == "pending"
            assert engine.access("user-1").allowed
            assert engine._ports.storage.instance_id() == shop.engine._ports.storage.instance_id()
            ordered = shop.pay("user-3")  # a host that was forgotten sells from the old database
            work_once(environment | {"BILLING_DATABASE_URL": target})
            assert [item.kind for item in engine.finance(ADMIN).queue()] == ["suspense"], ordered
        finally:
            engine.close()


def test_it_answers_in_json_and_says_when_the_books_are_not_proved(shop, tmp_path):
    environment = {k: v for k, v in shop.environment().items() if k.startswith("BILLING_")} | {"COLUMNS": "200"}
    shop.pay("user-1")
    work_once(environment)
    target, again = (make_sqlite(tmp_path / name) for name in ("moved.db", "again.db"))
    answer = CliRunner(env=environment).invoke(app, ["db", "copy", "--from", shop.url, "--to", target, "--json"])
    assert answer.exit_code == 0, answer.stderr
    told = json.loads(answer.stdout)
    assert told["tables"]["payment_receipts"]["rows"] == 1
    assert told["rows"] == sum(table["rows"] for table in told["tables"].values())
    assert (told["verify"]["ok"], told["verify"]["counts"]["orders"]) == (True, 1)
    unproved = CliRunner(env=environment | {"BILLING_SECRET_KEY": "A" * 43 + "="}).invoke(
        app, ["db", "copy", "--from", shop.url, "--to", again, "--quiet"]
    )
    assert unproved.exit_code == 1
    assert "verify found 1 difference:" in unproved.stdout
    for arguments, words in (
        (["--from", shop.url, "--to", shop.url], "to: source and target are the same"),
        (["--from", f"sqlite:///{tmp_path}/none.db", "--to", target], "from: there is no file"),
        (["--from", shop.url, "--to", target], "target: the target holds rows"),
        (["--from", shop.url, "--to", "mysql://x/y"], "databases are sqlite and postgresql, not mysql"),
    ):
        refused = CliRunner(env=environment).invoke(app, ["db", "copy", *arguments, "--no-verify"])
        assert refused.exit_code != 0
        assert words in refused.stderr
