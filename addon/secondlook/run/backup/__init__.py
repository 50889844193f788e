"""Backups: one file with everything an installation cannot fetch again, and the way back."""
