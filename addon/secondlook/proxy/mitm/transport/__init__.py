"""Sockets: connections taken, read, bounded and given way to, and those to origins."""
