"""The example file says what the settings say, and what it shows can be used."""

from __future__ import annotations

import importlib
import os

import pytest

from evmbilling.settings import BillingSettings, gateways_from, networks_from, variable_of

TREASURY = "0x52908400098527886E0F7030069857D2E4169EE7"


@pytest.fixture
def tool(project, monkeypatch):
    monkeypatch.syspath_prepend(project / "tools")
    return importlib.import_module("env_example")


def test_every_variable_is_in_the_example(tool):
    shown = {line[1:].partition("=")[0] for line in tool.render().splitlines() if line.startswith("#BILLING_")}
    assert shown == {variable_of(name) for name in BillingSettings.model_fields}


def test_what_the_example_shows_can_be_loaded(tool, tmp_path):
    lines = [line[1:] for line in tool.render().splitlines() if line.startswith("#BILLING_") and "_FILE=" not in line]
    path = tmp_path / ".env"
    path.write_text("\n".join(lines).replace("0xYOUR_TREASURY", TREASURY))
    settings = BillingSettings(_env_file=path)
    assert settings.notifiers == ("log",)
    assert [network.name for network in networks_from(settings, seal=pytest.fail)] == ["mainnet"]
    assert [gateway.slug for gateway in gateways_from(settings)] == ["main"]


def test_the_example_holds_no_usable_secret(tool):
    secrets = [line for line in tool.render().splitlines() if line.startswith(("#BILLING_SECRET_KEY=", "#BILLING_WEB"))]
    assert secrets[:2] == ["#BILLING_SECRET_KEY=", "#BILLING_WEBHOOK_SECRET="]
    assert "0xYOUR_TREASURY" in tool.render()
    assert os.environ.get("BILLING_SECRET_KEY") is None
