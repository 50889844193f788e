"""Parsers of public list formats: bytes in, entries and counted, located rejects out."""
