"""Commands about what was written down: the event log, the queue, the quarantine."""
