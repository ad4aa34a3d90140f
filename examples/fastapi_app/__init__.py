"""The shop as a FastAPI application."""
