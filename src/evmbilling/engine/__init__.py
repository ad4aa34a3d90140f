"""Use cases: load facts, ask a pure rule, commit its decisions. One module per flow; roles are checked here."""
