"""What a check needs, made from settings."""
