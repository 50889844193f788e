"""A copy of another server's generations."""
