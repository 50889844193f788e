"""The parts of a process, put together from settings."""
