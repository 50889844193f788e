"""Smart Protection Server client: tiers, failover, batching."""
