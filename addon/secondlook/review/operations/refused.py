"""Why something cannot be done, in words for the reader."""

from collections.abc import Callable, Mapping
from typing import Self

from secondlook.core.rules.client import ClientNameError, client_name


class Refused(Exception):  # noqa: N818 (an answer, in words for the reader)
    """Something cannot be done; the message is for the reader, `field` names what was typed wrongly.

    `faults` has the messages of all fields of a form.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.faults: Mapping[str, str] = {field or "": message}

    @classmethod
    def of_fields(cls, faults: Mapping[str, str]) -> Self:
        """Return the refusal of a form with several fields that are wrong; there is at least one."""
        field, message = next(iter(faults.items()))
        told = "; ".join(f"{name}: {text}" for name, text in faults.items()) if len(faults) > 1 else message
        refused = cls(told, field)
        refused.faults = faults
        return refused


class Missing(Refused):
    """There is no such thing."""


def named_client(text: str, read: Callable[[str], str] = client_name) -> str:
    """Read whom something is for; a blank name is nobody, not everybody. Raises Refused."""
    try:
        return read(text)
    except ClientNameError as error:
        raise Refused(f"client: {error}", "client") from None
