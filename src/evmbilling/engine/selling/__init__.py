"""Selling: what is offered, how it is paid, and until when."""
