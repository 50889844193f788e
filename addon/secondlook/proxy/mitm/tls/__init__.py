"""What runs through a connection: recognized, opened with a certificate of ours, or passed on as it is."""
