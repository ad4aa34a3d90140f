"""What billing is: frozen records, state tables and pure rules.

Nothing here reads a clock, a database, a network or a log. A rule takes facts and returns
decisions (:mod:`evmbilling.domain.decisions`); storage commits them.
"""
