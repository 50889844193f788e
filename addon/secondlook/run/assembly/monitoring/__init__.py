"""What a process shows of itself to those who watch it."""
