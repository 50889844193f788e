"""What is asked about a whole file besides its digests: its members, and what engines find."""
