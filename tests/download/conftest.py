"""Engines for the tests that ask them."""

from scankit.fixtures import clamd, liar

__all__ = ("clamd", "liar")
