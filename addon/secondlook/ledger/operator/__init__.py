"""What the operator said: rules, pauses, quarantine."""
