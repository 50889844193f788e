"""HTTP/1 and HTTP/2 towards the client and the origin: heads and bodies read by us."""
