"""The review page and its API."""
