"""The Smart Protection Server: prefix queries, hash lists, feeds and publishing."""
