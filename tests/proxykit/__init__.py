"""Real proxies and real origins inside a test: a worker and an origin, each on its own loop."""
