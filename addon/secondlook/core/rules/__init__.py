"""What the operator decides: rules, policy, groups of clients."""
