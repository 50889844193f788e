"""The check of one subject, from the view to what is written about it."""
