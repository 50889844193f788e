"""The body gate in tests: limits in bytes in place of megabytes, bodies in pieces, what it held."""

from itertools import pairwise

from secondlook.download.gate.gate import BodyGate
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


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """Give data in pieces, some of which may be empty."""
    edges = [0, *sorted(at % (len(data) + 1) for at in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


async def read_held(gate: BodyGate) -> bytes:
    """Read what a gate holds back."""
    out = b""
    while gate.spool is not None and (piece := await gate.spool.read()):
        out += piece
    return out
