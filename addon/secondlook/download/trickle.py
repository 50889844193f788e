"""What goes on of a body that waits for its verdict, so that its client does not give up meanwhile.

A client that gets not a byte for 15 s (pip) or 30 s (apt) takes the origin for dead, whatever of the file is
here. So once nothing went on for `downloads.patience`, the headers and a few bytes a second do, from the
front of what is held: never more than a quarter of what came, never the end. Where it is blocked then, it is
cut as a streamed one is. What must be held whole (`hold: full`, HTTP/1.0 without a length) gives nothing.
"""

EVERY_S = 1.0
STEP_BYTES = 4 << 10  # enough for clients that give up below 1000 bytes a second (dnf, git)
PART = 4  # one of so many bytes may go


def spare(held: int, given: int, kept: int) -> int:
    """Give how many of the bytes held may go on now, when so many have; the last `kept` never do."""
    return max(0, min(STEP_BYTES, (held + given) // PART - given, held - kept))
