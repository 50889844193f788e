"""Asking Smart Protection Servers: plan, circuit, answers and their cache."""
