"""Pure decisions: no clock, no randomness, no logging, no threads, no files."""
