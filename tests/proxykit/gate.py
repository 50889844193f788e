"""Limits of the body gate, in bytes in place of megabytes."""

from secondlook.download.gate.gate_state import GateLimits

LIMITS = GateLimits(
    hold_up_to=2000,
    hold_full=False,
    tail_min=300,
    tail_part=0.1,
    local_up_to=500,
    sniff=64,
    ratio=100,
    layers=4,
    look_up_to=5000,
)
