"""What follows from a threat: blocking, notices, quarantine."""
