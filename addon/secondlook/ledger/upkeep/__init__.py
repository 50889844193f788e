"""Housekeeping and erasure."""
