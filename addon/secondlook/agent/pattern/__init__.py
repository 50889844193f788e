"""The pattern folder: lists brought in, put in force, rolled back."""
