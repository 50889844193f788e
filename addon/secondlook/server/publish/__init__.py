"""From the entries of all sources to a signed generation."""
