"""What a body is and holds: its type, coding, beginning, digests, and which piece of a file it is."""
