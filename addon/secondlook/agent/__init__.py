"""The query process: checker, rechecker, updater and actions, over ports."""
