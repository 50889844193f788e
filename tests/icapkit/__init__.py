"""ICAP as a gateway speaks it."""
