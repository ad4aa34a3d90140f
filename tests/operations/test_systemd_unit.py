"""The units of the page are what systemd reads without a word, and what they start is what the page says."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess

import pytest
from typer.main import get_command

from evmbilling.cli.app import app
from evmbilling.settings import PREFIX, BillingSettings
from evmbilling.working import STEPS


class Unit(configparser.RawConfigParser):
    """systemd's own form: names keep their case, and one may stand several times."""

    def __init__(self, text):
        super().__init__(strict=False, interpolation=None, comment_prefixes=("#", ";"), delimiters=("=",))
        self.optionxform = str
        self.read_string(text)


@pytest.fixture(scope="module")
def units(project):
    """The unit files of the page, by name."""
    page = (project / "docs/operations/running.md").read_text()
    blocks = re.findall(r"```ini\n# /etc/systemd/system/(\S+)\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 3
    return dict(blocks)


def commands(units):
    return {
        name: shlex.split(Unit(text)["Service"]["ExecStart"]) for name, text in units.items() if name[-8:] == ".service"
    }


def test_every_command_exists_with_its_options(units):
    known = get_command(app).commands
    for name, words in commands(units).items():
        assert words[0].endswith("/bin/evmbilling"), name
        options = {option for given in known[words[1]].params for option in given.opts}
        assert {word for word in words[2:] if word.startswith("--")} <= options, name


def test_between_them_the_workers_do_every_step_and_one_alone_has_the_key_that_moves_money(units):
    only = {
        name: words[words.index("--only") + 1].split(",")
        for name, words in commands(units).items()
        if "--only" in words
    }
    done = [step for steps in only.values() for step in steps]
    assert sorted(done) == sorted(step.name for step in STEPS)
    keys = {name for name, text in units.items() if "LoadCredential=relayer-key" in text}
    assert [sorted(only[name]) for name in keys] == [["charges", "deposits", "relayer"]]


def test_they_end_gently_and_come_back_by_themselves(units):
    for name, text in units.items():
        if "worker" not in name:
            continue
        service = Unit(text)["Service"]
        assert service["Restart"] == "always", name
        assert service["KillSignal"] == "SIGTERM", name
        assert int(service["TimeoutStopSec"]) >= 60, name
        assert Unit(text)["Unit"]["StartLimitIntervalSec"] == "0", name
        secrets = [line for line in text.splitlines() if re.match(r"Environment=.*(KEY|SECRET|PASSWORD)", line)]
        assert all("_FILE=%d/" in line for line in secrets), name


def test_every_setting_of_a_unit_exists(units):
    known = {f"{PREFIX}{name.upper()}_FILE" for name in BillingSettings.model_fields}
    given = {name for text in units.values() for name in re.findall(r"^Environment=(\w+)=", text, re.MULTILINE)}
    assert given == {"BILLING_SECRET_KEY_FILE", "BILLING_SEAL_KEY_FILE"}
    assert given <= known


def test_systemd_reads_them_without_a_word(units, tmp_path):
    program = tmp_path / "evmbilling"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name, text in units.items():
        known = re.sub(r"/opt/billing/bin/evmbilling", str(program), text)
        (tmp_path / name).write_text(known)
        for section in Unit(text).sections():
            assert section in {"Unit", "Service", "Install", "Timer"}
    # Where there is no systemd, the sections above have been read; nothing here is skipped.
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        done = subprocess.run(
            [analyze, "verify", "--man=no", *(str(tmp_path / name) for name in units)],
            capture_output=True,
            text=True,
            check=False,
        )
        ours = [line for line in done.stderr.splitlines() if "evmbilling" in line]
        assert (done.returncode, ours) == (0, []), done.stderr
