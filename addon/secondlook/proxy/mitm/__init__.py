"""What stands in the place of mitmproxy's own parts: listener, connections, layers, streams."""
