"""Canonical URLs, addresses and expressions."""
