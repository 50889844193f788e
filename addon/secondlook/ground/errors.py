"""The error tree, ordered by what the caller does next.

```
SecondLookError
├── ConfigError    refuse to start: file, line, key and what was expected are in the message
├── PatternError   keep the last good list, raise an alert
├── ServiceError   try the next server (or back off, see lookup/failure.py)
└── LedgerError    count and alert; a *flag* takes the journal, else the request is refused
```

A bad URL or body is never an exception past the core: it is a decision with a reason.
"""


class SecondLookError(Exception):
    """Base of every error this program raises on purpose."""


class ConfigError(SecondLookError):
    """The configuration cannot be used; nothing may start."""


class PatternError(SecondLookError):
    """A hash list or an update of it cannot be trusted; the last good one stays."""


class ServiceError(SecondLookError):
    """A Smart Protection Server gave no usable answer."""


class LedgerError(SecondLookError):
    """The ledger could not read or commit."""
