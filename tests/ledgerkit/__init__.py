"""Ledgers for tests: a real PostgreSQL server, a fake, builders of records."""
