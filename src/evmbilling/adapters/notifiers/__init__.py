"""Telling people and programs: logs, e-mail, and webhooks that are signed."""
