"""Safe Browsing v5 messages and Rice coding; bytes in, bytes out."""
