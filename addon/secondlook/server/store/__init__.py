"""Entries and where they come from."""
