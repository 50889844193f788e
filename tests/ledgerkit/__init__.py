"""Ledgers for tests: a real PostgreSQL server, a fake, a file that is made once, builders of records."""
