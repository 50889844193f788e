"""Response bodies: looked at, held, judged. No mitmproxy in here."""
