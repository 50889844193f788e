"""Published vectors of the wire protocol."""
