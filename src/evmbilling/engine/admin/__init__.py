"""Administration: every write is checked for its role, and audited."""
