"""What works beside the traffic."""
