"""Events, flagged queue, rules and quarantine index on SQLAlchemy (SQLite, PostgreSQL)."""
