"""Commands about the proxy as it runs: started, reloaded, looked at, paused; and what its settings need."""
