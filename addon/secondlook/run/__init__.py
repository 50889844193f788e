"""The family of processes: supervisor, service and workers."""
