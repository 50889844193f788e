"""The event log: written, read, searched, followed."""
