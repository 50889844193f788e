"""Commands that set this computer, or a Squid, up for the proxy, and take it all back."""
