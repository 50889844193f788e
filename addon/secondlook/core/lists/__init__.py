"""Hash lists and the pattern that they make."""
