"""How a refusal reads and looks."""
