"""The shop as a Flask application."""
