"""Findings of agents: taken, approved or withdrawn, and listed like the operator's own entries."""
