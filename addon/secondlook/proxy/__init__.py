"""The mitmproxy edge: hooks, download gate, block page, lean master, worker."""
