"""The parsers, one a kind of format, and what several of them read by."""
