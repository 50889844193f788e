"""`secondlook.internal`, and pages shown in place of others."""
