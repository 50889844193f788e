"""Keeping feeds: fetched, checked and taken in."""
