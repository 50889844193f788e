"""From what came to numbered lines: containers and packed streams undone as they go by, in bounded memory."""
