"""What the operator decided: rules, pauses, quarantine."""
