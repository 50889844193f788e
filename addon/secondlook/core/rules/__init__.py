"""What the operator said: rules, policy, groups of clients."""
