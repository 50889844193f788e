"""Who may use the proxy, and what it does not open."""
