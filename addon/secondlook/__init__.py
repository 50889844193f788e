"""Second Look: a web proxy that checks every URL and every download, and looks twice."""
