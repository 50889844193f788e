"""What can be wrong with bytes from the wire, named by whose fault it is and what follows.

```
WireError          base of this room
├── BadRequest     a client asked for something impossible: answer 400 with the message
└── BadUpdate      an update of a list cannot be trusted: keep the last good list
```
"""

from secondlook.ground.errors import PatternError, SecondLookError


class WireError(SecondLookError):
    """Bytes that are not what the protocol asks for."""


class BadRequest(WireError):  # noqa: N818 (the HTTP status of that name)
    """A client's request is malformed or asks for too much."""


class BadUpdate(WireError, PatternError):  # noqa: N818
    """A list update is malformed or does not fit the list."""
