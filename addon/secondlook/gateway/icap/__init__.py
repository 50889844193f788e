"""The ICAP server (RFC 3507): gateways ask it for refusals and have it look at bodies."""
