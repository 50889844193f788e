"""The API under `/api/v1`: its routes, and its records as types."""
