"""Machinery of the query process's tests: virtual time, servers and a ledger in memory."""
