"""Commands about the operator's rules."""
