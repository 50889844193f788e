"""What waits for the second look, what it confirmed, and what was allowed before."""
