"""Before the names of the tables in these tests."""

from evmbilling.adapters.sqlalchemy.names import DEFAULT_PREFIX
from sampling import EVERYTHING

PREFIX = "billing_" if EVERYTHING else DEFAULT_PREFIX
"""The whole run shows that any prefix will do; processes begin with statements that were built with ours."""
