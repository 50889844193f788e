"""What of a body may go on, and when: a machine without I/O, and where it keeps what waits."""
