"""One request and its response: answered at once, gated, kept waiting, or handed through."""
