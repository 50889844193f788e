"""Engines for the tests that ask them."""

from scankit.fixtures import clamd, liar, no_yara

__all__ = ("clamd", "liar", "no_yara")
