"""Smart Protection Server: prefix queries, hash list download, feeds, publishing."""
