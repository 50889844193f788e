"""What attacks are run with: a proxy to attack, a hostile site, watches beside them, and the table."""
