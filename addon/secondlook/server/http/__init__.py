"""What clients of a Smart Protection Server reach over HTTP."""
