"""What a feed yields: entries, rejects with their places, exceptions, and the count of them all."""
