"""Machinery of the tests of engines: a real clamd with a small database of our own, and one that lies."""
