"""The administrator's page of a Smart Protection Server: how it is, and what agents found."""
