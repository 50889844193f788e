"""The ledger as others see it, over an open one: the second look and the operator (ports of `agent`)."""
