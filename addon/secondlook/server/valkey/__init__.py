"""Generations in a Valkey store."""
