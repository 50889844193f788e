"""The second look: flagged subjects, what was allowed before, what was confirmed."""
