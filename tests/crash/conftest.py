"""Where the processes live that are killed."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture
def place(database, databases, request, tmp_path):
    """Where the driver's processes live: ``sqlite``, in copies of a migrated file, or a migrated database."""
    if database == "sqlite":
        shutil.copyfile(databases.sqlite_template, tmp_path / "template.db")
        yield database
        return
    server = request.getfixturevalue("postgres_server")
    name = server.create(template=databases.postgres_template(server))
    yield server.url(name)
    server.drop(name)
