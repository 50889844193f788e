"""Looking for what is wrong, on request and all the time."""
